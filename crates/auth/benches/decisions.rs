//! What it costs to decide, and to judge a Client, with 10 and with 100,000 bindings and registered
//! clients.
//!
//! `cargo bench -p midge-auth` prints nanoseconds per decision and per judgement, as the minimum of
//! several rounds over a thousand Clients in turn, the bytes that a judged Client takes, and what
//! the compiled policy does; `cargo bench -p midge-auth -- 10` does so for one size. The models:
//!
//! - `tenants`: each tenant has a group by an attribute, five topic spaces and ten bindings;
//! - `one group`: all bindings are those of `$all`;
//! - `20 groups`: each Client is in twenty groups, which have all bindings;
//! - `rules`: the same as `one group`, as access rules, every tenth of which denies;
//! - `around`: every rule has a level with a variable in the same place, and a text of its own;
//! - `own rules`: each user has a rule of its own.

#![allow(clippy::print_stdout)] // the figures are what it is for
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use cap::Cap;
use midge_auth::{
    AccessPolicy, Action, ClientPolicy, DefaultAccess, Model, Permission, Query, RegisteredClient,
    Rule, RuleSet, RuleSource, Template, TopicPattern, Who,
};
use midge_codec::QoS;
use midge_core::{Identity, UserAttribute};

#[global_allocator]
static ALLOCATOR: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

/// How many Clients are asked about in turn.
const CLIENTS: usize = 1_000;
const ROUNDS: usize = 15;

fn main() {
    println!(
        "{:<12}{:>8} |{:>9}{:>9}{:>9}{:>9}{:>9} |{:>9}{:>7} |{:>9}{:>7}",
        "model",
        "size",
        "publish",
        "denied",
        "receive",
        "filter",
        "wild",
        "judge",
        "bytes",
        "compile",
        "MB"
    );
    let asked: Vec<usize> = std::env::args().filter_map(|it| it.parse().ok()).collect();
    for size in if asked.is_empty() { vec![10, 100_000] } else { asked } {
        measure("tenants", size, |size| (tenants(size), Vec::new()));
        measure("one group", size, |size| (one_group(size), Vec::new()));
        measure("20 groups", size, |size| (twenty_groups(size), Vec::new()));
        measure("rules", size, |size| (with_clients(Model::new(), size), rules(size)));
        measure("around", size, |size| (with_clients(Model::new(), size), around(size)));
        measure("own rules", size, |size| (with_clients(Model::new(), size), own_rules(size)));
    }
}

fn template(text: &str) -> Template {
    Template::parse(text).expect("a template")
}

/// Registers clients, ten of each tenant.
fn with_clients(model: Model, size: usize) -> Model {
    (0..size).fold(model, |model, number| {
        let tenant = format!("t{}", number / 10);
        let client = RegisteredClient::new(&format!("user{number}"))
            .attribute("tenant", UserAttribute::Text(tenant.into()))
            .attribute("type", UserAttribute::Text("sensor".into()))
            .attribute("floor", UserAttribute::Number(number as i64 % 50));
        model.client(client)
    })
}

/// `size` bindings; the topics of tenant 7 begin with `t7/`.
fn tenants(size: usize) -> Model {
    let mut model = with_clients(Model::new(), size);
    for tenant in 0..size / 10 {
        let group = format!("tenant-{tenant}");
        let query = format!("attributes.tenant = 't{tenant}' AND attributes.floor >= 0");
        model = model.group(&group, Some(Query::parse(&query).expect("a query")));
        for (number, kind) in ["state", "command", "alarm", "log", "update"].iter().enumerate() {
            let space = format!("space-{tenant}-{number}");
            let templates = vec![
                template(&format!("t{tenant}/{kind}/${{client.username}}/+")),
                template(&format!("t{tenant}/shared/{kind}/#")),
            ];
            model = model
                .topic_space(&space, templates)
                .binding(&group, &space, Permission::Publisher)
                .binding(&group, &space, Permission::Subscriber);
        }
    }
    model
}

/// `size` bindings of `$all`, to half as many spaces.
fn one_group(size: usize) -> Model {
    (0..size / 2).fold(with_clients(Model::new(), size), |model, number| {
        let space = format!("space-{number}");
        model
            .topic_space(&space, vec![topics(number)])
            .binding("$all", &space, Permission::Publisher)
            .binding("$all", &space, Permission::Subscriber)
    })
}

/// `size` bindings of twenty groups that have every Client.
fn twenty_groups(size: usize) -> Model {
    let all = Query::parse("attributes.type = 'sensor'").expect("a query");
    let model = with_clients(Model::new(), size);
    let model = (0..20)
        .fold(model, |model, number| model.group(&format!("group-{number}"), Some(all.clone())));
    (0..size / 2).fold(model, |model, number| {
        let (group, space) = (format!("group-{}", number % 20), format!("space-{number}"));
        model
            .topic_space(&space, vec![topics(number)])
            .binding(&group, &space, Permission::Publisher)
            .binding(&group, &space, Permission::Subscriber)
    })
}

/// Such that there is something for each tenant.
fn topics(number: usize) -> Template {
    let (tenant, kind) = (number / 5, ["state", "command", "alarm", "log", "update"][number % 5]);
    template(&format!("t{tenant}/{kind}/${{client.username}}/+"))
}

fn rules(size: usize) -> Vec<Rule> {
    let rule = |number: usize| match number % 10 {
        9 => Rule::deny(vec![TopicPattern::new(template(&format!("+/secret/{number}/#")))]),
        _ => Rule::allow(vec![TopicPattern::new(topics(number / 2))]),
    };
    (0..size).map(rule).collect()
}

fn around(size: usize) -> Vec<Rule> {
    let rule = |number: usize| {
        let topics = format!("+/state/line{number}-${{client.username}}/+");
        Rule::allow(vec![TopicPattern::new(template(&topics))])
    };
    let own = Rule::allow(vec![TopicPattern::new(template("+/state/${client.username}/+"))]);
    (1..size).map(rule).chain([own]).collect()
}

fn own_rules(size: usize) -> Vec<Rule> {
    let rule = |number: usize| {
        let topics = ["state/${client.username}/+", "command/#"];
        let topics = topics.map(|it| template(&format!("t{}/{it}", number / 10)));
        Rule {
            who: Who::users(&[&format!("user{number}")]),
            ..Rule::allow(topics.map(TopicPattern::new).into())
        }
    };
    (0..size).map(rule).collect()
}

/// Clients that are spread over all tenants.
fn clients(size: usize) -> Vec<(usize, Identity)> {
    let numbers = (0..CLIENTS).map(|number| number * (size / 10) * 10 / CLIENTS % size);
    let identity = |number| {
        let client_id = format!("client{number}").into();
        Identity::new(client_id, Some(format!("user{number}").into()))
    };
    numbers.map(|number| (number, identity(number))).collect()
}

fn measure(name: &str, size: usize, make: impl Fn(usize) -> (Model, Vec<Rule>)) {
    let before = ALLOCATOR.allocated();
    let (model, rules) = make(size);
    let start = Instant::now();
    let sources: Vec<Box<dyn RuleSource>> = match rules.is_empty() {
        true => Vec::new(),
        false => vec![Box::new(RuleSet::new(&rules).expect("rules"))],
    };
    let policy = AccessPolicy::new(model, sources, DefaultAccess::Deny, 0).expect("a model");
    let compile = start.elapsed();
    drop(rules);
    let compiled = ALLOCATOR.allocated().saturating_sub(before) / 1_000_000;

    let clients = clients(size);
    let judge = || clients.iter().map(|it| policy.judge(&it.1)).collect::<Vec<_>>();
    let before = ALLOCATOR.allocated();
    let judged = judge();
    let bytes = (ALLOCATOR.allocated() - before) / CLIENTS - size_of::<Arc<ClientPolicy>>();
    let judge = fastest(|| drop(black_box(judge())));

    let topics = |make: fn(usize, usize) -> String| {
        clients.iter().map(|it| make(it.0 / 10, it.0)).collect::<Vec<_>>()
    };
    let own = topics(|tenant, user| format!("t{tenant}/state/user{user}/temperature"));
    let foreign = topics(|tenant, user| format!("t{tenant}/state/user{}/temperature", user + 1));
    let wild = topics(|tenant, user| format!("t{tenant}/state/user{user}/+"));
    let qos = QoS::AtMostOnce;
    let asked = [
        decide(&judged, &own, true, |topic| Action::Publish { topic, qos, retain: false }),
        decide(&judged, &foreign, false, |topic| Action::Publish { topic, qos, retain: false }),
        decide(&judged, &own, true, |topic| Action::Receive { topic }),
        decide(&judged, &own, true, |filter| Action::Subscribe { filter, qos }),
        decide(&judged, &wild, true, |filter| Action::Subscribe { filter, qos }),
    ];
    print!("{name:<12}{size:>8} |");
    asked.iter().for_each(|it| print!("{it:>9.1}"));
    println!(" |{judge:>9.0}{bytes:>7} |{:>6} ms{compiled:>7}", compile.as_millis());
}

fn decide(
    judged: &[Arc<ClientPolicy>],
    names: &[String],
    is_allowed: bool,
    action: impl Fn(&str) -> Action<'_>,
) -> f64 {
    let decisions = || judged.iter().zip(names).map(|(client, name)| client.decide(action(name)));
    assert!(decisions().all(|decision| decision.allowed == is_allowed));
    fastest(|| {
        for decision in decisions() {
            black_box(decision);
        }
    })
}

/// Returns the nanoseconds for each Client in the fastest round.
fn fastest(mut round: impl FnMut()) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        round();
        start.elapsed().as_nanos() as f64 / CLIENTS as f64
    });
    times.fold(f64::MAX, f64::min)
}
