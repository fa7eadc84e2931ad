//! The same store gives the same export, and an import makes the same store of it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use midge_core::{
    Attributes, Durability, Enqueue, Identifiers, Identity, Kept, Message, MessageParts, Owner,
    SessionRecord, StoreOp, StoredDelivery, Timestamp,
};

use super::checks::{NOW, options, store};
use super::generator::{Generator, facts};
use crate::engine::Engine;
use crate::recovery::Opened;
use crate::segment::segment_number;
use crate::testing::plain::describe;
use crate::testing::{FaultyDisk, Random};
use crate::tools::{ImportError, Imported, ReadOnlyDisk, check, export};

/// A directory that is gone at the end of the test.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("midge-store-tools-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn exported(disk: &Arc<FaultyDisk>) -> String {
    let mut out = Vec::new();
    let exported = export(disk.clone(), &mut out, &mut |_| {}).unwrap();
    assert!(exported.is_whole(), "{exported:?}");
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count() as u64, exported.lines);
    text
}

pub(super) fn imported(text: &str) -> Result<Arc<FaultyDisk>, ImportError> {
    let disk = Arc::new(FaultyDisk::new(1));
    let import = crate::tools::import_into;
    import(disk.clone(), &mut text.as_bytes(), options(), NOW, &mut |_| {})?;
    Ok(disk)
}

/// Returns everything that a broker would find.
fn described(disk: &Arc<FaultyDisk>) -> Vec<String> {
    let disk = Arc::new(disk.snapshot());
    let Opened { mut engine, recovered, .. } = Engine::open(disk, options(), NOW).unwrap();
    describe(&recovered, &mut engine, &mut Random::new(1))
}

fn message(payload: &[u8], user_name: Option<&str>) -> Message {
    let attributes = Attributes {
        qos: midge_codec::QoS::AtLeastOnce,
        retain: false,
        expires_at: None,
        publisher_session: None,
        durability: Durability::Memory,
    };
    let publisher = Identity::new("\"quoted\" é".into(), user_name.map(Into::into));
    Message::new(MessageParts {
        topic: "a/ü/\u{10FFFF}",
        properties: &[],
        payload,
        attributes,
        publisher: Arc::new(publisher),
    })
}

/// Adds what random histories hardly have: a queue that is empty behind a long history, equal
/// messages, messages without a payload and with text, a number that is not in use any more.
fn special(disk: &Arc<FaultyDisk>) {
    let opened = Engine::open(disk.clone(), options(), NOW);
    let Opened { mut engine, recovered, .. } = opened.unwrap();
    let first = recovered.next_number + 5;
    let session = |number| SessionRecord {
        number,
        client_id: format!("special {number}").into(),
        user_name: Some("".into()),
        facts: Some(Arc::new(facts(number))),
        expiry_seconds: u32::MAX,
        window: None,
        will: None,
    };
    for number in [first, first + 1, first + 2] {
        engine.apply_op(&StoreOp::Session(Box::new(session(number))));
    }
    let both = message(b"", None);
    let texts = [b"text \n \"quoted\"".as_slice(), b"equal", b"equal", b"\xff\0\xfe"];
    let mut messages: Vec<_> = texts.iter().map(|text| message(text, Some("u"))).collect();
    messages.push(both.clone());
    for owner in [Owner::Session(first), Owner::Session(first + 1)] {
        for (sequence, message) in (1_u64 << 40..).step_by(7).zip(&messages) {
            let delivery = StoredDelivery {
                message: message.clone(),
                qos: midge_codec::QoS::AtLeastOnce,
                retain: true,
                identifiers: Identifiers::None,
                group: Some(1 << 60),
            };
            let enqueue = Enqueue { owner, sequence, delivery, round: None };
            engine.apply_op(&StoreOp::Enqueue(Box::new(enqueue)));
            if owner == Owner::Session(first + 1) {
                engine.apply_op(&StoreOp::Finished { owner, sequence });
            }
        }
    }
    let what = Kept::Delayed(Timestamp::from_millis(u64::MAX));
    engine.apply_op(&StoreOp::Keep { number: first + 3, what, message: both });
    engine.apply_op(&StoreOp::Ended(Owner::Session(first + 2)));
    engine.apply_op(&StoreOp::Unkeep { number: first + 9 });
    let gone =
        StoreOp::Keep { number: first + 20, what: Kept::Retained, message: message(b"gone", None) };
    engine.apply_op(&gone);
    engine.apply_op(&StoreOp::Unkeep { number: first + 20 });
    engine.close().unwrap();
}

#[test]
fn an_import_makes_the_same_store_of_an_export() {
    for seed in 1000..1060 {
        let (disk, _) = store(seed, seed % 2 == 0);
        if seed % 3 == 0 {
            special(&disk);
        }
        let text = exported(&disk);
        let again = imported(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(exported(&again), text, "seed {seed}");
        assert_eq!(described(&again), described(&disk), "seed {seed}");
        assert!(check(again, &mut |_| {}).unwrap().is_sound(), "seed {seed}");
    }
}

#[test]
fn an_export_does_not_depend_on_where_things_are() {
    for seed in 2000..2040 {
        let (disk, _) = store(seed, false);
        let text = exported(&disk);
        assert_eq!(exported(&disk), text);
        let opened = Engine::open(disk.clone(), options(), NOW).unwrap();
        let mut engine = opened.engine;
        let current = engine.writer.journal.current_segment();
        for segment in engine.writer.journal.segments() {
            if segment < current {
                engine.start_compaction(segment);
                while engine.continue_compaction().unwrap() {}
            }
        }
        engine.close().unwrap();
        assert_eq!(exported(&disk), text, "seed {seed}");
    }
}

#[test]
fn what_is_damaged_is_left_out_and_the_rest_can_be_imported() {
    let mut losses = 0;
    for seed in 3000..3060 {
        let (disk, _) = store(seed, false);
        let mut random = Random::new(seed);
        let names: Vec<_> =
            disk.names().into_iter().filter(|name| segment_number(name).is_some()).collect();
        for _ in 0..4 {
            let name = &names[random.below(names.len())];
            disk.flip_bit(name, 512 + random.below(8 * 3000)).unwrap();
        }
        let mut out = Vec::new();
        let found = export(disk.clone(), &mut out, &mut |_| {}).unwrap();
        losses += found.lost.damage.len();
        let text = String::from_utf8(out).unwrap();
        let again = imported(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(exported(&again), text, "seed {seed}");
    }
    assert!(losses > 0);
}

#[test]
fn every_line_that_is_missing_doubled_or_cut_is_noticed() {
    let (disk, _) = store(4001, true);
    special(&disk);
    let text = exported(&disk);
    let lines: Vec<&str> = text.lines().collect();
    for place in 0..lines.len() {
        let mut missing = lines.clone();
        missing.remove(place);
        assert!(imported(&(missing.join("\n") + "\n")).is_err(), "without line {}", place + 1);
        let mut doubled = lines.clone();
        doubled.insert(place, lines[place]);
        assert!(imported(&(doubled.join("\n") + "\n")).is_err(), "line {} twice", place + 1);
        let cut = lines[place].get(..lines[place].len() / 2).unwrap_or_default();
        let mut changed = lines.clone();
        changed[place] = cut;
        let error = imported(&changed.join("\n")).unwrap_err();
        let number = place as u64 + 1;
        assert!(matches!(error, ImportError::Line { number: n, .. } if n == number), "{error}");
    }
    assert!(imported(text.trim_end()).is_ok());
}

#[test]
fn a_wrong_line_is_named_with_what_is_wrong() {
    let header = r#"{"kind":"midge-export","version":1,"next_number":9}"#;
    let session =
        r#"{"kind":"session","number":7,"client_id":"c","expiry_seconds":1,"next_sequence":5}"#;
    let content =
        r#"{"topic":"t","qos":1,"retain":false,"durability":"fsync","publisher":"p","text":""}"#;
    let message = &format!(r#"{{"kind":"message","number":1,"content":{content}}}"#);
    let queued = r#"{"kind":"queued","session":7,"sequence":4,"message":1,"qos":1,"retain":false}"#;
    let end = r#"{"kind":"end","lines":2}"#;
    let changed = |line: &str, from: &str, to: &str| {
        assert!(line.contains(from), "{line}");
        line.replacen(from, to, 1)
    };
    let cases: [(&[&str], u64, &str); 22] = [
        (&[], 1, "the export is empty"),
        (&[session], 1, "begins with a line of the kind \"midge-export\""),
        (&[&changed(header, "1", "2")], 1, "use a newer midge"),
        (&[header, header], 2, "a second export"),
        (&[header, "no"], 2, "it is no JSON"),
        (&[&format!("\u{feff}{header}")], 1, "it begins with a byte order mark: remove that"),
        (&[header, "", end], 2, "it is empty"),
        (&[header, r#"{"kind":"other"}"#], 2, "no line of an export: unknown variant `other`"),
        (&[header, &changed(session, "}", ",\"x\":1}")], 2, "unknown field `x`"),
        (&[header, &changed(session, "7", "9")], 2, "9 is not below \"next_number\""),
        (&[header, session, session], 3, "Session 7 comes twice"),
        (&[header, session, queued], 3, "there is no message 1 before"),
        (&[header, message, session], 3, "must refer to the message before it"),
        (&[header, message, queued], 3, "no line about Session 7 before"),
        (&[header, session, message, &changed(queued, "4", "5")], 4, "5 is not below"),
        (&[header, session, message, queued, queued], 5, "do not grow"),
        (&[header, session, message, &changed(queued, "\"qos\":1", "\"qos\":3")], 4, "\"qos\""),
        (&[header, &changed(message, "\"t\"", "\"#\"")], 2, "no Topic Name"),
        (&[header, &changed(message, "\"text\":\"\"", "\"base64\":\"x\"")], 2, "not base64"),
        (&[header, &changed(message, ",\"text\":\"\"", "")], 2, "either \"text\" or"),
        (&[header, session], 2, "it is not complete"),
        (&[header, session, end], 3, "had 2 lines and has 3"),
    ];
    for (lines, line, expected) in cases {
        let error = imported(&lines.join("\n")).unwrap_err();
        let is_line = matches!(&error, ImportError::Line { number, .. } if *number == line);
        assert!(is_line && error.to_string().contains(expected), "{lines:?}: {error}");
    }
    let end = changed(end, "2", "5");
    imported(&[header, session, message, queued, &end].join("\n")).unwrap();
}

fn import(scratch: &Scratch, text: &str) -> Result<Imported, ImportError> {
    crate::tools::import(&scratch.0.join("data"), &mut text.as_bytes(), options(), NOW, &mut |_| {})
}

fn names(scratch: &Scratch) -> Vec<String> {
    let entries = fs::read_dir(scratch.0.join("data")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_failed_import_leaves_nothing() {
    let (disk, _) = store(5001, true);
    let text = exported(&disk);
    let half = &text[..text.len() / 2];
    let scratch = Scratch::new();
    import(&scratch, half).unwrap_err();
    assert!(!scratch.0.join("data").exists());
    fs::create_dir(scratch.0.join("data")).unwrap();
    import(&scratch, half).unwrap_err();
    assert_eq!(names(&scratch), [""; 0]);
    import(&scratch, &text).unwrap();
    let error = import(&scratch, &text).unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
    let disk = ReadOnlyDisk::open(&scratch.0.join("data")).unwrap();
    let mut out = Vec::new();
    export(Arc::new(disk), &mut out, &mut |_| {}).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), text);
}

#[test]
fn an_import_that_was_killed_is_refused_by_brokers_and_begun_anew_by_imports() {
    let (disk, _) = store(5002, true);
    let text = exported(&disk);
    let scratch = Scratch::new();
    let path = scratch.0.join("data");
    fs::create_dir(&path).unwrap();
    for name in ["unfinished", "journal-0000000000000001", "checkpoint-0000000000000001"] {
        fs::write(path.join(name), b"half").unwrap();
    }
    for error in [crate::RealDisk::open(&path).map(drop), ReadOnlyDisk::open(&path).map(drop)] {
        assert!(error.unwrap_err().to_string().contains("only a part of a store"));
    }
    import(&scratch, &text).unwrap();
    assert!(!path.join("unfinished").exists());
    let opened = Engine::open(Arc::new(crate::RealDisk::open(&path).unwrap()), options(), NOW);
    assert!(opened.unwrap().report.is_sound());
}

#[test]
fn a_full_device_fails_an_import() {
    let mut generator = Generator::new(1);
    // An export that needs more room than the device has.
    let mut texts = (6001..).map(|seed| exported(&store(seed, true).0));
    let text = texts.find(|text| text.len() > 60_000).unwrap();
    let full = FaultyDisk::new(1);
    full.set_capacity(20_000 + generator.random.below(10_000) as u64);
    let import = crate::tools::import_into;
    let error =
        import(Arc::new(full), &mut text.as_bytes(), options(), NOW, &mut |_| {}).unwrap_err();
    assert!(matches!(error, ImportError::Store(_) | ImportError::Open(_)), "{error}");
}
