//! `midge store`, on the data directories of real brokers.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::broker::free_port;
use crate::command::{Ended, Running, midge, midge_in};
use crate::directory::Directory;

/// Starts a broker that keeps its data in this directory.
fn broker(data: &Path) -> (Running, u16) {
    let port = free_port();
    let arguments = format!("--listen 127.0.0.1:{port} --data {}", data.display());
    (midge(&arguments).wait_for("documentation"), port)
}

fn stop(broker: Running) {
    let ended = broker.signal("TERM").end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Makes a Session that stays, without a Network Connection.
fn subscribe_and_leave(port: u16) {
    midge(&format!("sub -p {port} -V 311 -i away -c -q 1 -t t/# -E")).end().text();
}

fn publish_lines(port: u16, count: usize) {
    let lines: String = (0..count).map(|number| format!("line {number}\n")).collect();
    midge(&format!("pub -p {port} -t t/lines -q 1 -l")).feed(lines.as_bytes()).end().text();
}

/// Receives what waits for the Session.
fn receive_lines(port: u16, count: usize) -> String {
    let arguments = format!("sub -p {port} -V 311 -i away -c -q 1 -t t/# -C {count} -W 15");
    midge(&arguments).end().text()
}

fn lines(count: usize) -> String {
    (0..count).map(|number| format!("line {number}\n")).collect()
}

/// Runs `midge store` with this data directory and more arguments.
fn store(command: &str, data: &Path, rest: &str) -> Ended {
    midge(&format!("store {command} --data {} {rest}", data.display())).end()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Asserts that only its owner can look into it.
fn assert_closed(data: &Path) {
    assert_eq!(mode(data), 0o700, "{}", data.display());
    for entry in fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

/// Makes a directory in which a broker has left a Session, 20 messages for it and a retained one.
fn filled(scratch: &Directory) -> PathBuf {
    let data = scratch.path().join("data");
    let (broker, port) = broker(&data);
    subscribe_and_leave(port);
    publish_lines(port, 20);
    midge(&format!("pub -p {port} -t kept -m retained -q 1 -r")).end().text();
    stop(broker);
    data
}

#[test]
fn a_backup_is_made_while_a_broker_works_and_a_broker_starts_on_it() {
    let scratch = Directory::empty();
    let (data, target) = (scratch.path().join("data"), scratch.path().join("backup"));
    let (first, port) = broker(&data);
    subscribe_and_leave(port);
    publish_lines(port, 300);
    let publisher = midge(&format!("pub -p {port} -t t/more -m more -q 1 --repeat 3000"));
    let text = store("backup", &data, &format!("{} --json", target.display())).text();
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["sound"], true, "{text}");
    assert_eq!(found["damage"], serde_json::json!([]), "{text}");
    assert!(found["content"]["queued_messages"].as_u64().unwrap() >= 300, "{text}");
    assert_closed(&data);
    assert_closed(&target);
    publisher.end().text();
    let refused = store("backup", &data, &target.display().to_string()).failure(1);
    assert!(refused.contains("is not empty"), "{refused}");

    let (second, second_port) = broker(&target);
    assert_eq!(receive_lines(second_port, 300), lines(300));
    stop(second);
    assert_eq!(receive_lines(port, 300), lines(300));
    stop(first);
    let text = store("check", &target, "").text();
    assert!(text.contains("not damaged"), "{text}");
    store("check", &data, "").text();
}

#[test]
fn what_a_broker_uses_is_left_to_it() {
    let scratch = Directory::empty();
    let data = scratch.path().join("data");
    let (first, _) = broker(&data);
    let stderr = store("check", &data, "").failure(1);
    assert!(stderr.contains("a broker is using") && stderr.contains("store backup"), "{stderr}");
    let stderr = store("export", &data, "").failure(1);
    assert!(stderr.contains("a broker is using"), "{stderr}");
    let arguments = format!("--listen 127.0.0.1:{} --data {}", free_port(), data.display());
    let stderr = midge(&arguments).end().failure(1);
    assert!(stderr.contains("is used by another broker"), "{stderr}");
    stop(first);
}

#[test]
fn an_export_can_be_imported_elsewhere() {
    let scratch = Directory::empty();
    let data = filled(&scratch);
    let export = scratch.path().join("export.jsonl");
    store("export", &data, &format!("--output {}", export.display())).text();
    assert_eq!(mode(&export), 0o600);
    let text = fs::read_to_string(&export).unwrap();
    assert_eq!(store("export", &data, "").text(), text);
    fs::write(&export, "mine").unwrap();
    let refused = store("export", &data, &format!("--output {}", export.display())).failure(1);
    assert!(refused.contains("is there already") && refused.contains("--force"), "{refused}");
    assert_eq!(fs::read_to_string(&export).unwrap(), "mine");
    store("export", &data, &format!("--force --output {}", export.display())).text();
    assert_eq!(fs::read_to_string(&export).unwrap(), text);
    store("export", &data, "--output /dev/null").text();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    let all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |kind: &str| all.iter().filter(|line| line["kind"] == kind).count();
    assert_eq!((count("session"), count("subscription")), (1, 1), "{text}");
    assert_eq!((count("queued"), count("retained"), count("message")), (20, 1, 21), "{text}");

    let copy = scratch.path().join("copy");
    let said = store("import", &copy, &export.display().to_string()).text();
    assert!(said.contains("1 Session, 0 shared subscriptions, 20 queued messages"), "{said}");
    assert_closed(&copy);
    assert_eq!(store("export", &copy, "").text(), text);
    let other = scratch.path().join("other");
    let import = format!("store import --data {} -", other.display());
    midge(&import).feed(text.as_bytes()).end().text();
    assert_eq!(store("export", &other, "").text(), text);

    let (broker, port) = broker(&copy);
    assert_eq!(receive_lines(port, 20), lines(20));
    assert_eq!(midge(&format!("sub -p {port} -t kept -C 1 -W 10")).end().text(), "retained\n");
    stop(broker);
    let stderr = store("import", &copy, &export.display().to_string()).failure(1);
    assert!(stderr.contains("is not empty") && stderr.contains("nothing was changed"), "{stderr}");
}

#[test]
fn an_export_is_written_nowhere_into_the_data_directory() {
    let scratch = Directory::empty();
    let data = filled(&scratch);
    let text = store("export", &data, "").text();
    let names = |directory: &Path| {
        let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        names.collect::<BTreeSet<_>>()
    };
    let before = names(&data);
    let at = |name: &str| scratch.path().join(name);
    symlink(&data, at("link")).unwrap();
    symlink(at("outside"), data.join("leads-outside")).unwrap();
    fs::write(at("outside"), "mine").unwrap();
    symlink(data.join("lock"), at("leads-inside")).unwrap();
    let journal = "journal-0000000000000001";
    assert!(before.contains(OsStr::new(journal)), "{before:?}");
    for output in [
        data.join(journal),
        data.join("lock"),
        data.join("new.jsonl"),
        data.join("leads-outside"),
        at("link").join(journal),
        at("leads-inside"),
        data.join("../data/new.jsonl"),
    ] {
        let arguments = format!("--force --output {}", output.display());
        let refused = store("export", &data, &arguments).failure(1);
        assert!(refused.contains("is in the data directory"), "{}: {refused}", output.display());
    }
    fs::remove_file(data.join("leads-outside")).unwrap();
    assert_eq!(names(&data), before);
    assert_eq!(store("export", &data, "").text(), text);
}

#[test]
fn a_wrong_export_is_not_imported() {
    let scratch = Directory::empty();
    let data = scratch.path().join("data");
    let import = format!("store import --data {} -", data.display());
    let header = "{\"kind\":\"midge-export\",\"version\":1,\"next_number\":1}\n";
    let text = format!("{header}{{\"kind\":\"sesion\"}}\n");
    let stderr = midge(&import).feed(text.as_bytes()).end().failure(1);
    assert!(stderr.contains("line 2: ") && stderr.contains("`sesion`"), "{stderr}");
    assert!(stderr.contains("nothing was imported"), "{stderr}");
    let stderr = midge(&import).feed(header.as_bytes()).end().failure(1);
    assert!(stderr.contains("it is not complete"), "{stderr}");
    assert!(!data.exists());
}

#[test]
fn nothing_of_an_export_is_imported_that_no_broker_could_have_written() {
    let scratch = Directory::empty();
    let export = store("export", &filled(&scratch), "").text();
    let (data, file) = (scratch.path().join("other"), scratch.path().join("edited"));
    for (from, to, line, expected) in [
        ("\"client_id\":\"away\"", "\"client_id\":\"$broker\"", 2, "the broker's own"),
        ("\"filter\":\"t/#\"", "\"filter\":\"t#\"", 3, "no Topic Filter"),
        ("\"topic\":\"t/lines\"", "\"topic\":\"$delayed/9/t\"", 4, "behind its delay"),
    ] {
        assert!(export.contains(from), "{export}");
        fs::write(&file, export.replace(from, to)).unwrap();
        let stderr = store("import", &data, &file.display().to_string()).failure(1);
        assert!(stderr.contains(&format!("line {line}: ")), "{stderr}");
        assert!(stderr.contains(expected) && stderr.contains("leave out"), "{stderr}");
        assert!(!data.exists());
    }
}

/// Returns the journal file that contains this text, its bytes, and where the text begins.
fn place_of(data: &Path, text: &[u8]) -> (PathBuf, Vec<u8>, usize) {
    let journals = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let mut journals = journals.filter(|path| path.display().to_string().contains("journal-"));
    let found = journals.find_map(|path| {
        let bytes = fs::read(&path).unwrap();
        let place = bytes.windows(text.len()).position(|part| part == text)?;
        Some((path, bytes, place))
    });
    found.unwrap()
}

#[test]
fn a_check_finds_a_flipped_bit() {
    let scratch = Directory::empty();
    let data = filled(&scratch);
    let text = store("check", &data, "").text();
    assert!(text.contains("not damaged"), "{text}");
    let (path, mut bytes, place) = place_of(&data, b"line 13");
    bytes[place] ^= 0x10;
    fs::write(&path, &bytes).unwrap();
    let ended = store("check", &data, "");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let text = String::from_utf8(ended.stdout).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(text.contains(&format!("damaged record in {name} at byte ")), "{text}");
    assert!(text.contains("for Session ") && text.contains("1 thing lost"), "{text}");
    let ended = store("check", &data, "--json");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let found: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(found["sound"], false);
    assert_eq!(found["damage"][0]["file"], name);
    assert_eq!(found["lost"][0]["file"], name);
    assert_eq!(found["content"]["queued_messages"], 19);
    assert!(fs::read(&path).unwrap() == bytes);
    let ended = store("export", &data, "");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("what can be read is in the export"), "{ended:?}");
    let lines = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(lines.matches("\"kind\":\"queued\"").count(), 19, "{lines}");
}

#[test]
fn wrong_usage_is_told() {
    let scratch = Directory::empty();
    midge("store").end().failure(2);
    midge("store check --data a --config b").end().failure(2);
    let nothing = scratch.path().join("nothing");
    let stderr = store("check", &nothing, "").failure(1);
    assert!(stderr.contains("nothing") && !nothing.exists(), "{stderr}");
    let stderr = store("check", scratch.path(), "").failure(1);
    assert!(stderr.contains("there is no store in it"), "{stderr}");
    let stderr = midge("store check").end().failure(1);
    assert!(stderr.contains("keeps nothing on disk"), "{stderr}");
    scratch.write("[storage]\npth = 'data'\n");
    let stderr = midge_in(scratch.path(), &[], "store check").end().failure(2);
    assert!(stderr.contains("`pth`"), "{stderr}");
}

#[test]
fn the_configuration_names_the_directory() {
    let scratch = Directory::empty();
    let data = filled(&scratch);
    scratch.write(&format!("[storage]\npath = '{}'\n", data.display()));
    let variables = [("MIDGE_STORAGE_IN_MEMORY", "false")];
    let config = format!("store check --config {}/midge.toml", scratch.path().display());
    for arguments in ["store check", &config] {
        let text = midge_in(scratch.path(), &variables, arguments).end().text();
        assert!(text.contains("queued messages        20"), "{text}");
    }
}

/// No checkpoint knows about the newest part of the journal yet.
#[test]
fn a_check_tells_of_messages_that_nothing_else_refers_to() {
    let scratch = Directory::empty();
    let data = scratch.path().join("data");
    let (broker, port) = broker(&data);
    subscribe_and_leave(port);
    publish_lines(port, 20);
    // When this later message is acknowledged, all of that was on the device.
    midge(&format!("pub -p {port} -t kept -m retained -q 1 -r")).end().text();
    broker.signal("KILL").end();
    store("check", &data, "").text();
    let (path, mut bytes, place) = place_of(&data, b"line 13");
    bytes[place] ^= 0x10;
    fs::write(&path, &bytes).unwrap();
    let ended = store("check", &data, "");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let text = String::from_utf8(ended.stdout).unwrap();
    assert!(text.contains("damaged in 1 place, at least 1 thing lost"), "{text}");
    let ended = store("check", &data, "--json");
    let found: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&found["passed_by"], &found["sound"]), (&1.into(), &false.into()));
}

/// Before the first checkpoint, nothing else tells what a segment contained.
#[test]
fn a_check_tells_of_a_journal_that_is_cut_off() {
    let scratch = Directory::empty();
    let data = scratch.path().join("data");
    let (broker, port) = broker(&data);
    subscribe_and_leave(port);
    publish_lines(port, 20);
    broker.signal("KILL").end();
    store("check", &data, "").text();
    let (path, bytes, _) = place_of(&data, b"line 13");
    fs::write(&path, &bytes[..200]).unwrap();
    let ended = store("check", &data, "");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let text = String::from_utf8(ended.stdout).unwrap();
    assert!(text.contains("damaged in 1 place, at least 1 thing lost"), "{text}");
}

#[test]
fn where_there_is_no_store_that_is_said() {
    let scratch = Directory::empty();
    let stderr = store("check", scratch.path(), "").failure(1);
    assert!(stderr.contains("there is no store in it: name the data directory"), "{stderr}");
    let stderr = store("export", &scratch.path().join("none"), "").failure(1);
    assert!(stderr.contains("does not exist: name the data directory"), "{stderr}");
}

#[test]
fn a_directory_that_was_hardly_meant_is_refused_and_one_open_to_others_is_warned_of() {
    let scratch = Directory::empty();
    fs::write(scratch.path().join("letter.txt"), "dear").unwrap();
    let start = |data: &Path| {
        midge(&format!("--listen 127.0.0.1:{} --data {}", free_port(), data.display()))
    };
    let stderr = start(scratch.path()).end().failure(1);
    assert!(stderr.contains("letter.txt") && stderr.contains("nothing was changed"), "{stderr}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    let data = scratch.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let ended = start(&data).wait_for("documentation").signal("TERM").end();
    assert!(ended.stderr.contains("is open to other users (mode 0755)"), "{ended:?}");
    assert_eq!(mode(&data), 0o755);
}
