//! An import accepts everything that a broker can have written, and nothing else. The store that it
//! makes is sound, is exported again as it was imported, and a core goes on with it.

use std::mem;
use std::sync::Arc;

use midge_codec::{Connect, ConnectProperties, Packet, ProtocolVersion};
use midge_core::{
    AllowAll, Core, CoreConfig, Durability, DurabilityRules, Limits, NodeBudget, Opening, Receipt,
    Recovered, SharedStrategy, TopicRules, Turn, WorkerId,
};
use serde_json::{Value, json};

use super::checks::{NOW, options, store};
use super::exports::{exported, imported};
use crate::engine::Engine;
use crate::recovery::Opened;
use crate::testing::{FaultyDisk, Random};
use crate::tools::{ImportError, check};

const HEADER: &str = r#"{"kind":"midge-export","version":1,"next_number":90}"#;
const GROUP: &str = r#"{"kind":"group","number":2,"name":"g","filter":"a/#","next_sequence":9}"#;
const SESSION: &str =
    r#"{"kind":"session","number":7,"client_id":"c","expiry_seconds":1,"next_sequence":40000}"#;
const SUBSCRIPTION: &str = concat!(
    r#"{"kind":"subscription","session":7,"filter":"a/#","qos":1,"no_local":false,"#,
    r#""retain_as_published":false,"retain_handling":0}"#,
);
const MESSAGE: &str = concat!(
    r#"{"kind":"message","number":1,"content":{"topic":"t","qos":1,"retain":true,"#,
    r#""durability":"fsync","publisher":"p","text":"x"}}"#,
);
const QUEUED: &str =
    r#"{"kind":"queued","session":7,"sequence":4,"message":1,"qos":1,"retain":false}"#;
const OF_GROUP: &str = concat!(
    r#"{"kind":"queued","group":2,"sequence":4,"message":1,"qos":1,"retain":false,"#,
    r#""from_group":2}"#,
);
const TAKEN: &str = r#"{"kind":"taken","session":7,"sequence":5}"#;
const AWAITING: &str = r#"{"kind":"awaiting_release","session":7,"packet_id":9}"#;
const RETAINED: &str = r#"{"kind":"retained","number":20,"message":1}"#;
const DELAYED: &str = r#"{"kind":"delayed","number":21,"at_ms":5,"message":1}"#;
const WILL: &str = concat!(
    r#"{"delay_seconds":1,"content":{"topic":"t","qos":1,"retain":true,"#,
    r#""durability":"fsync","publisher":"c","text":"x"}}"#,
);

/// Makes an export of these lines, with a first and a last line.
fn export_of(lines: &[String]) -> String {
    let end = json!({"kind": "end", "lines": lines.len() + 2});
    format!("{HEADER}\n{}\n{end}\n", lines.join("\n"))
}

/// Returns the line with this field set to something else, or without it.
fn with(line: &str, field: &str, value: Value) -> String {
    let mut line: Value = serde_json::from_str(line).unwrap();
    let (object, field) = match field.split_once('.') {
        Some((object, field)) => (&mut line[object], field),
        None => (&mut line, field),
    };
    object[field] = value;
    line.to_string()
}

fn all_lines() -> Vec<String> {
    let will: Value = serde_json::from_str(WILL).unwrap();
    let lines = [
        GROUP,
        &with(SESSION, "will", will),
        SUBSCRIPTION,
        AWAITING,
        MESSAGE,
        QUEUED,
        OF_GROUP,
        TAKEN,
        RETAINED,
        DELAYED,
    ];
    lines.map(ToOwned::to_owned).into()
}

fn refused_at(lines: &[String], expected: &str) {
    let error = imported(&export_of(lines)).map(drop).unwrap_err();
    let at = lines.len() as u64 + 1;
    let is_there = matches!(&error, ImportError::Line { number, .. } if *number == at);
    assert!(is_there && error.to_string().contains(expected), "{lines:#?}: {error}");
}

/// Asserts that an import of all lines up to this one is refused at this one, with its field set to
/// `value`.
fn refused(line: &str, field: &str, value: Value, expected: &str) {
    let mut lines = all_lines();
    let kind_of = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["kind"].to_string(), line["group"].to_string())
    };
    let place = lines.iter().position(|it| kind_of(it) == kind_of(line)).unwrap();
    lines.truncate(place);
    lines.push(with(line, field, value));
    refused_at(&lines, expected);
}

#[test]
fn filters_that_earlier_versions_granted_are_taken() {
    for filter in ["$delayed/1/a", "$queue", "$exclusive", "$share/g/$delayed/#"] {
        let lines = [SESSION.to_owned(), with(SUBSCRIPTION, "filter", json!(filter))];
        let export = export_of(&lines);
        let again = exported(&imported(&export).unwrap());
        let again = again.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert_eq!(again.filter(|line| line["filter"] == filter).count(), 1, "{filter}");
    }
    let group = with(GROUP, "filter", json!("$delayed/#"));
    imported(&export_of(&[group])).unwrap();
}

#[test]
fn an_exclusive_subscription_has_one_session() {
    let of = |session: u64| {
        let line = with(SUBSCRIPTION, "session", json!(session));
        with(&line, "filter", json!("$exclusive/a"))
    };
    let other = with(&with(SESSION, "number", json!(8)), "client_id", json!("d"));
    let lines = [SESSION.to_owned(), of(7), other, of(8)];
    refused_at(&lines, "exclusive subscription, and Session 7 has it in line 3 already");
    // The Session that came in the place of another one may have its subscription, too.
    let successor = with(&with(SESSION, "number", json!(8)), "supersedes", json!(7));
    imported(&export_of(&[SESSION.to_owned(), of(7), successor, of(8)])).unwrap();
}

/// Others are still to get what waits for it; its subscription is another Session's by now.
#[test]
fn a_session_that_has_ended_has_no_exclusive_subscription() {
    let of = |session: u64| {
        let line = with(SUBSCRIPTION, "session", json!(session));
        with(&line, "filter", json!("$exclusive/a"))
    };
    let ended = |line: &str| with(line, "expiry_seconds", json!(0));
    let other = with(&with(SESSION, "number", json!(8)), "client_id", json!("d"));
    let lines = [ended(SESSION), of(7), other.clone(), of(8)];
    imported(&export_of(&lines)).unwrap();
    let lines = [SESSION.to_owned(), of(7), ended(&other), of(8)];
    imported(&export_of(&lines)).unwrap();
    let third = with(&with(SESSION, "number", json!(9)), "client_id", json!("e"));
    let lines = [SESSION.to_owned(), of(7), ended(&other), of(8), third, of(9)];
    refused_at(&lines, "exclusive subscription, and Session 7 has it in line 3 already");
}

#[test]
fn values_that_nobody_can_have_sent_are_refused() {
    imported(&export_of(&all_lines())).unwrap();
    let will: Value = serde_json::from_str(WILL).unwrap();
    let will = |field: &str, value: Value| {
        let mut will = will.clone();
        will["content"][field] = value;
        will
    };
    for (line, field, value, expected) in [
        (SESSION, "client_id", json!(""), "is empty"),
        (SESSION, "client_id", json!("$broker"), "the broker's own identifiers"),
        (SESSION, "client_id", json!("$a"), "the broker's own identifiers"),
        (SESSION, "client_id", json!("a\0b"), "U+0000"),
        (SESSION, "number", json!(0), "numbers begin at 1"),
        (SESSION, "number", json!(2), "is in line 2 already"),
        (SESSION, "supersedes", json!(3), "is no earlier Session"),
        (SESSION, "next_sequence", json!(u64::MAX), "\"next_sequence\" is above"),
        (SESSION, "detached", json!({"at_ms": u64::MAX}), "no time that was"),
        (SESSION, "will", will("publisher", json!("d")), "of the Session"),
        (SESSION, "will", will("publisher_user_name", json!("d")), "of the Session"),
        (SESSION, "will", will("expires_at_ms", json!(5)), "\"expiry_seconds\" instead"),
        (SESSION, "will", will("topic", json!("$SYS/a")), "the broker's own"),
        (SESSION, "will", will("topic", json!("$delayed/x/a")), "$delayed/SECONDS/TOPIC"),
        (GROUP, "name", json!(""), "no shared subscription"),
        (GROUP, "name", json!("a+"), "no shared subscription"),
        (GROUP, "name", json!("a/b"), "no shared subscription"),
        (GROUP, "filter", json!("a#"), "no shared subscription"),
        (GROUP, "filter", json!("$exclusive/a"), "no shared subscription"),
        (SUBSCRIPTION, "filter", json!(""), "no Topic Filter"),
        (SUBSCRIPTION, "filter", json!("a+"), "no Topic Filter"),
        (SUBSCRIPTION, "filter", json!("$share/g"), "no Topic Filter"),
        (SUBSCRIPTION, "filter", json!("$exclusive/$share/g/a"), "no Topic Filter"),
        (SUBSCRIPTION, "qos", json!(3), "\"qos\" must be 0, 1 or 2"),
        (SUBSCRIPTION, "retain_handling", json!(3), "\"retain_handling\""),
        (SUBSCRIPTION, "identifier", json!(268_435_456), "Subscription Identifier"),
        (SUBSCRIPTION, "session", json!(8), "no line about Session 8"),
        (AWAITING, "packet_id", json!(0), "1 to 65535"),
        (AWAITING, "packet_id", json!(65_536), "65536"),
        (MESSAGE, "content.topic", json!("$delayed/5/a"), "behind its delay"),
        (MESSAGE, "content.topic", json!("$delayed"), "$delayed/SECONDS/TOPIC"),
        (MESSAGE, "content.topic", json!("$SYS/broker/uptime"), "the broker's own"),
        (MESSAGE, "content.topic", json!("$share/g/a"), "begin Topic Filters"),
        (MESSAGE, "content.topic", json!("a/#"), "no Topic Name"),
        (MESSAGE, "content.qos", json!(3), "\"qos\" must be 0, 1 or 2"),
        (MESSAGE, "content.publisher", json!(""), "is empty"),
        (MESSAGE, "content.publisher", json!("$other"), "the broker's own identifiers"),
        (MESSAGE, "content.properties", json!("AQI="), "wire form"),
        (QUEUED, "sequence", json!(0), "sequences begin at 1"),
        (QUEUED, "qos", json!(0), "are not kept"),
        (QUEUED, "qos", json!(2), "above that of the message"),
        (QUEUED, "qos", json!(3), "\"qos\" must be 0, 1 or 2"),
        (QUEUED, "identifiers", json!([268_435_456]), "Subscription Identifier"),
        (QUEUED, "from_group", json!(0), "numbers begin at 1"),
        (QUEUED, "message", json!(2), "must refer to the message before it"),
        (OF_GROUP, "from_group", json!(7), "\"from_group\" 2"),
        (OF_GROUP, "identifiers", json!([1]), "no \"identifiers\""),
        (TAKEN, "sequence", json!(0), "sequences begin at 1"),
        (RETAINED, "message", json!(2), "there is no message 2"),
        (RETAINED, "number", json!(7), "is in line 3 already"),
        (DELAYED, "number", json!(20), "is in line 10 already"),
    ] {
        refused(line, field, value, expected);
    }
}

#[test]
fn a_retained_message_has_a_payload_and_was_published_as_one() {
    for (field, value) in [("content.retain", json!(false)), ("content.text", json!(""))] {
        refused_at(&[with(MESSAGE, field, value), RETAINED.to_owned()], "is kept by no topic");
    }
}

#[test]
fn the_end_of_a_connection_is_told_once() {
    let mut line: Value = serde_json::from_str(SESSION).unwrap();
    (line["detached"], line["sent_ahead"]) = (json!({"at_ms": 5}), json!(9));
    refused_at(&[line.to_string()], "both \"detached\" and \"sent_ahead\"");
}

#[test]
fn shared_subscriptions_are_not_without_their_own_messages() {
    let line = with(SUBSCRIPTION, "no_local", json!(true));
    for filter in ["$share/g/a", "$queue/a"] {
        let line = with(&line, "filter", json!(filter));
        refused_at(&[SESSION.to_owned(), line], "[MQTT-3.8.3-4]");
    }
    let taken = json!({"kind": "taken", "group": 2, "sequence": 3}).to_string();
    refused_at(&[GROUP.to_owned(), taken], "only a Session has taken");
}

#[test]
fn a_name_that_two_have_is_refused_with_the_line_of_the_first() {
    let second = with(MESSAGE, "number", json!(2));
    for (first, again, expected) in [
        (vec![SESSION], with(SESSION, "number", json!(8)), "is that of the Session in line 2"),
        (vec![GROUP], with(GROUP, "number", json!(8)), "is in line 2 already"),
        (vec![SESSION, SUBSCRIPTION], SUBSCRIPTION.to_owned(), "in line 3 already"),
        (vec![SESSION, AWAITING], AWAITING.to_owned(), "comes twice"),
        (
            vec![MESSAGE, RETAINED, &second],
            with(&with(RETAINED, "number", json!(21)), "message", json!(2)),
            "its retained message in line 3 already",
        ),
        (vec![SESSION, TAKEN], with(TAKEN, "sequence", json!(5 + 32_767)), "Packet Identifier (5)"),
    ] {
        let mut lines: Vec<String> = first.into_iter().map(ToOwned::to_owned).collect();
        lines.push(again);
        refused_at(&lines, expected);
    }
}

#[test]
fn what_a_broker_could_not_end_in_time_is_told_and_taken() {
    for (line, number) in [(SESSION, 7), (GROUP, 2)] {
        let newer = |supersedes: u64, number: u64| {
            let line = with(line, "supersedes", json!(supersedes));
            with(&line, "number", json!(number))
        };
        let lines = [line.to_owned(), newer(number, 30), newer(30, 31)];
        let text = export_of(&lines);
        let again = exported(&imported(&text).unwrap());
        assert_eq!(again.matches("\"supersedes\"").count(), 2, "{again}");
        assert_eq!(exported(&imported(&again).unwrap()), again);
        refused_at(&[line.to_owned(), newer(number, 1)], "is no earlier");
        refused_at(&[line.to_owned(), newer(number, 30), newer(number, 31)], "is no earlier");
    }
}

/// Changes some fields and lines as somebody might who edits an export. The last line says how many
/// lines there are.
fn mutated(text: &str, random: &mut Random) -> String {
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for _ in 0..random.within(1..3) {
        let (place, other) = (random.below(lines.len()), random.below(lines.len()));
        match random.below(20) {
            0 => lines.swap(place, other),
            1 => {
                let line = lines[place].clone();
                lines.insert(other, line);
            }
            2 => drop(lines.remove(place)),
            _ => change_field(&mut lines, place, other, random),
        }
    }
    let count = lines.len();
    if let Some(last) = lines.last_mut().filter(|line| line["kind"] == "end") {
        last["lines"] = json!(count);
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn change_field(lines: &mut [Value], place: usize, other: usize, random: &mut Random) {
    let Some(mut fields) = lines[place].as_object().cloned() else {
        return;
    };
    let inner = fields.get("content").and_then(Value::as_object).cloned();
    let is_inner = inner.is_some() && random.one_in(2);
    let target = if is_inner { inner.unwrap() } else { fields.clone() };
    let names: Vec<String> = target.keys().cloned().collect();
    let name = &names[random.below(names.len())];
    let values = [
        json!(0),
        json!(1),
        json!(3),
        json!(65_536),
        json!(u64::MAX),
        json!(random.below(40)),
        json!(""),
        json!("$broker"),
        json!("$delayed/1/a"),
        json!("$SYS/a"),
        json!("a#"),
        json!("filter/1/#"),
        json!(random.one_in(2)),
        Value::Null,
        lines[other][name].clone(),
        lines[other]["content"][name].clone(),
    ];
    let value = values[random.below(values.len())].clone();
    let mut target = target;
    target.insert(name.clone(), value);
    match is_inner {
        true => drop(fields.insert("content".to_owned(), Value::Object(target))),
        false => fields = target,
    }
    lines[place] = Value::Object(fields);
}

#[test]
fn an_export_that_was_edited_is_refused_or_makes_a_store_that_a_core_goes_on_with() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 7000..7024 {
        let (disk, _) = store(seed, seed % 2 == 0);
        let text = exported(&disk);
        go_on_with(&imported(&text).unwrap(), seed);
        let mut random = Random::new(seed);
        for _ in 0..32 {
            let edited = mutated(&text, &mut random);
            let Ok(disk) = imported(&edited) else {
                refused += 1;
                continue;
            };
            taken += 1;
            let checked = check(disk.clone(), &mut |_| {}).unwrap();
            assert!(checked.is_sound(), "seed {seed}: {checked:#?}\n{edited}");
            let again = exported(&disk);
            assert_eq!(exported(&imported(&again).unwrap()), again, "seed {seed}");
            go_on_with(&disk, seed);
        }
    }
    assert!(taken > 30 && refused > 30, "{taken} were taken, {refused} refused");
}

/// Lets a core take everything over, the Clients come back, and time pass.
fn go_on_with(disk: &Arc<FaultyDisk>, seed: u64) {
    let Opened { engine, recovered, .. } = Engine::open(disk.clone(), options(), NOW).unwrap();
    let clients: Vec<_> =
        recovered.sessions.iter().map(|session| session.record.client_id.clone()).collect();
    let mut node = Node::new(engine, seed);
    node.restore(recovered);
    for client_id in &clients {
        node.connect(client_id);
    }
    node.settle();
    let counters = node.core.counters();
    assert_eq!(counters.protocol_violations, 0, "seed {seed}");
    node.core.handle_timers(&mut Turn::new(NOW.plus_seconds(1 << 40), 1));
    node.settle();
}

/// One core with its store.
struct Node {
    engine: Engine,
    core: Core,
    turn: Turn,
}

impl Node {
    fn new(engine: Engine, seed: u64) -> Self {
        let durability = DurabilityRules {
            has_store: true,
            default: Durability::Fsync,
            ..DurabilityRules::default()
        };
        let core = Core::new(CoreConfig {
            worker: WorkerId::new(0),
            workers: 1,
            seed,
            secret: [seed; 2],
            limits: Arc::new(Limits::default()),
            budget: Arc::new(NodeBudget::default()),
            policy: Arc::new(AllowAll),
            topics: Arc::new(TopicRules::default()),
            shared_strategy: SharedStrategy::default(),
            shared_backlog: true,
            response_prefix: None,
            tell_drops: false,
            durability,
        });
        Self { engine, core, turn: Turn::new(NOW, 1) }
    }

    fn restore(&mut self, recovered: Recovered) {
        for part in recovered.divide(1, 0) {
            self.core.restore(part, &mut self.turn);
        }
        self.settle();
        self.core.end_restore(&mut self.turn);
        self.settle();
    }

    fn connect(&mut self, client_id: &str) {
        let id = self.core.open_connection(Opening::default(), NOW);
        let packet = Packet::Connect(Box::new(Connect {
            version: ProtocolVersion::V5,
            bridge: false,
            clean_start: false,
            keep_alive_seconds: 0,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_interval: Some(60),
                ..ConnectProperties::default()
            },
        }));
        self.core.handle_packet(id, &packet, &mut self.turn);
        self.settle();
    }

    /// Lets core and store answer each other until neither has anything to say.
    fn settle(&mut self) {
        let Self { engine, core, turn } = self;
        loop {
            core.end_turn(turn);
            let commits = mem::take(&mut turn.fx.commits);
            let fetches = mem::take(&mut turn.fx.fetches);
            if commits.is_empty() && fetches.is_empty() && !core.has_work() {
                return;
            }
            for commit in commits {
                let number = commit.number;
                engine.apply(WorkerId::new(0), commit);
                engine.write().unwrap();
                let receipt = Receipt { written: number, synced: number };
                core.handle_receipt(receipt, turn);
            }
            for fetch in fetches {
                core.handle_fetched(engine.fetch(&fetch), turn);
            }
        }
    }
}
