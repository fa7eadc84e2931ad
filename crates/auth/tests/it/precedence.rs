//! The order in which sources decide, example by example.

use std::sync::Arc;

use midge_auth::{
    AccessPolicy, Action, ClientPolicy, DecidedBy, DefaultAccess, Judge, Model, Opinion,
    Permission, QosSet, Query, RegisteredClient, Rule, RuleSet, RuleSource, Template, TopicPattern,
    Who,
};
use midge_codec::QoS;
use midge_core::{CredentialRule, Identity, Source, UserAttribute, UserFacts};

fn patterns(topics: &[&str]) -> Vec<TopicPattern> {
    topics.iter().map(|topic| TopicPattern::new(Template::parse(topic).unwrap())).collect()
}

fn exact(topic: &str) -> Vec<TopicPattern> {
    vec![TopicPattern::exact(Template::parse(topic).unwrap())]
}

fn allow(topics: &[&str]) -> Rule {
    Rule { reference: "the allow".into(), ..Rule::allow(patterns(topics)) }
}

fn deny(topics: &[&str]) -> Rule {
    Rule { reference: "the deny".into(), ..Rule::deny(patterns(topics)) }
}

fn policy(model: Model, rules: &[Rule], default: DefaultAccess) -> AccessPolicy {
    let rules: Box<dyn RuleSource> = Box::new(RuleSet::new(rules).unwrap());
    AccessPolicy::new(model, vec![rules], default, 1_000).unwrap()
}

fn of_rules(rules: &[Rule], default: DefaultAccess) -> Arc<ClientPolicy> {
    policy(Model::new(), rules, default).judge(&user("u"))
}

fn user(name: &str) -> Identity {
    Identity::new("c".into(), Some(name.into()))
}

fn with_facts(facts: UserFacts) -> Identity {
    Identity { facts: Some(Arc::new(facts)), ..user("u") }
}

fn publish(topic: &str) -> Action<'_> {
    Action::Publish { topic, qos: QoS::AtMostOnce, retain: false }
}

fn subscribe(filter: &str) -> Action<'_> {
    Action::Subscribe { filter, qos: QoS::AtLeastOnce }
}

fn receive(topic: &str) -> Action<'_> {
    Action::Receive { topic }
}

/// All that is allowed of `actions`.
fn allowed<'a>(policy: &ClientPolicy, actions: &[Action<'a>]) -> Vec<&'a str> {
    let allowed = actions.iter().filter(|action| policy.decide(**action).allowed);
    allowed.map(Action::name).collect()
}

#[test]
fn s15_without_rules_the_default_decides_and_it_is_to_deny() {
    let policy = AccessPolicy::new(Model::new(), Vec::new(), DefaultAccess::default(), 0).unwrap();
    let judged = policy.judge(&user("u"));
    let decision = judged.decide(publish("a"));
    assert!(!decision.allowed);
    assert_eq!(policy.describe(decision.by), "no rule allows it, and the default is deny");
    assert!(judged.may_stay());
}

#[test]
fn what_denies_goes_before_what_allows() {
    let judged = of_rules(&[allow(&["a/#"]), deny(&["a/b"])], DefaultAccess::Allow);
    let topics = [publish("a"), publish("a/b"), publish("c"), receive("a/b"), receive("a/c")];
    assert_eq!(allowed(&judged, &topics), ["a", "c", "a/c"]);
}

#[test]
fn z04_a_narrower_deny_leaves_the_subscription_and_denies_the_message() {
    for default in [DefaultAccess::Allow, DefaultAccess::Deny] {
        let judged = of_rules(&[allow(&["a/#"]), deny(&["a/secret/#"])], default);
        let filters = [subscribe("a/#"), subscribe("a/+"), subscribe("a/secret/+")];
        assert_eq!(allowed(&judged, &filters), ["a/#", "a/+"]);
        let messages = [receive("a/x"), receive("a/secret"), receive("a/secret/x")];
        assert_eq!(allowed(&judged, &messages), ["a/x"]);
    }
}

#[test]
fn a_subscription_needs_one_rule_that_allows_all_of_it() {
    let judged = of_rules(&[allow(&["a/+/c", "a/b/#"])], DefaultAccess::Deny);
    let filters = [
        subscribe("a/+/c"),
        subscribe("a/x/c"),
        subscribe("a/b/#"),
        subscribe("a/b/+/d"),
        subscribe("a/+/+"),
        subscribe("a/#"),
        subscribe("#"),
        subscribe("+/+/c"),
    ];
    assert_eq!(allowed(&judged, &filters), ["a/+/c", "a/x/c", "a/b/#", "a/b/+/d"]);
}

#[test]
fn topics_of_the_broker_need_a_rule_that_names_them() {
    let actions = [
        subscribe("$SYS/#"),
        subscribe("$events/x"),
        receive("$SYS"),
        receive("$SYS/x"),
        receive("$SYSTEM"),
        publish("$SYS/x"),
        publish("$events"),
        publish("$SYSTEM"),
        subscribe("#"),
    ];
    let judged = of_rules(&[allow(&["#", "+/#", "+/x"])], DefaultAccess::Allow);
    assert_eq!(allowed(&judged, &actions), ["$SYSTEM", "$SYSTEM", "#"]);
    assert_eq!(judged.decide(receive("$SYS/x")).by, DecidedBy::NoGrant);
    assert_eq!(judged.decide(publish("$SYS/x")).by, DecidedBy::BrokerPublishes);

    let judged = of_rules(&[allow(&["$SYS/#"])], DefaultAccess::Deny);
    assert_eq!(allowed(&judged, &actions), ["$SYS/#", "$SYS", "$SYS/x"]);

    let judged = policy(Model::new(), &[], DefaultAccess::Allow)
        .judge(&with_facts(UserFacts { is_superuser: true, ..UserFacts::default() }));
    let expected = ["$SYS/#", "$events/x", "$SYS", "$SYS/x", "$SYSTEM", "$SYSTEM", "#"];
    assert_eq!(allowed(&judged, &actions), expected);
}

#[test]
fn a_superuser_passes_unless_it_is_disabled() {
    let rules = [deny(&["#"])];
    let superuser = with_facts(UserFacts { is_superuser: true, ..UserFacts::default() });
    let judged = policy(Model::new(), &rules, DefaultAccess::Deny).judge(&superuser);
    assert_eq!(judged.decide(publish("a")).by, DecidedBy::Superuser);

    let disabled = RegisteredClient { is_enabled: false, ..RegisteredClient::new("u") };
    let policy = policy(Model::new().client(disabled), &rules, DefaultAccess::Allow);
    for client in [superuser, user("u")] {
        let judged = policy.judge(&client);
        assert!(!judged.may_stay());
        assert!(!judged.decide(receive("a")).allowed);
        let words = policy.describe(judged.decide(publish("a")).by);
        assert_eq!(words, "the client is registered as disabled");
    }
    assert!(policy.judge(&user("v")).may_stay());
}

#[test]
fn a_registered_client_may_have_only_its_own_client_identifiers() {
    let registered = RegisteredClient {
        client_ids: Some(vec!["c".into(), "d".into()]),
        ..RegisteredClient::new("u")
    };
    let policy = policy(Model::new().client(registered), &[], DefaultAccess::Allow);
    assert!(policy.judge(&user("u")).decide(publish("a")).allowed);
    let other = Identity::new("e".into(), Some("u".into()));
    assert!(!policy.judge(&other).may_stay());
    assert_eq!(policy.judge(&other).decide(publish("a")).by, DecidedBy::ClientIdentifier);
}

#[test]
fn registered_attributes_go_before_those_that_authentication_finds() {
    let registered =
        RegisteredClient::new("u").attribute("plant", UserAttribute::Text("north".into()));
    let template = "${client.attributes.plant}/${client.attributes.floor}/#";
    let model = Model::new()
        .client(registered)
        .topic_space("own-floor", vec![Template::parse(template).unwrap()])
        .binding("$all", "own-floor", Permission::Publisher);
    let attributes = [
        ("plant".into(), UserAttribute::Text("south".into())),
        ("floor".into(), UserAttribute::Number(2)),
    ];
    let facts = UserFacts { attributes: attributes.into(), ..UserFacts::default() };
    let policy = policy(model, &[], DefaultAccess::Deny);
    let topics = [publish("north/2/x"), publish("south/2/x"), publish("north/3/x")];
    assert_eq!(allowed(&policy.judge(&with_facts(facts)), &topics), ["north/2/x"]);
    assert!(allowed(&policy.judge(&user("u")), &topics).is_empty());
}

#[test]
fn decisions_are_explained_in_words() {
    let model = Model::new()
        .topic_space("telemetry", patterns(&["t/#"]).into_iter().map(|it| it.template).collect())
        .group("sensors", None)
        .binding("sensors", "telemetry", Permission::Publisher);
    let rules = [Rule { who: Who::groups(&["sensors"]), ..deny(&["t/x"]) }];
    let policy = policy(model, &rules, DefaultAccess::Deny);
    let credential = CredentialRule {
        allows: true,
        publish: true,
        subscribe: true,
        topics: "own/${client.id}".into(),
        qos: 0b111,
        retain: None,
    };
    let judged = policy.judge(&with_facts(UserFacts {
        groups: ["sensors".into()].into(),
        rules: [credential].into(),
        ..UserFacts::default()
    }));
    for (action, expected) in [
        (publish("t/y"), "binding of group `sensors` to topic space `telemetry` as publisher"),
        (publish("t/x"), "the deny"),
        (publish("own/c"), "rule 1 of the credential"),
        (subscribe("t/y"), "no rule allows it, and the default is deny"),
    ] {
        assert_eq!(policy.describe(judged.decide(action).by), expected);
    }
}

#[test]
fn the_first_rule_of_a_credential_that_fits_decides() {
    let rule = |allows, topics: &str| CredentialRule {
        allows,
        publish: true,
        subscribe: true,
        topics: topics.into(),
        qos: 0b111,
        retain: None,
    };
    let rules = [rule(true, "a/b"), rule(false, "a/+"), rule(true, "a/#")];
    let facts = UserFacts { rules: rules.into(), ..UserFacts::default() };
    let policy = policy(Model::new(), &[], DefaultAccess::Deny);
    let judged = policy.judge(&with_facts(facts));
    let actions = [publish("a/b"), publish("a/c"), publish("a/c/d"), subscribe("a/#")];
    assert_eq!(allowed(&judged, &actions), ["a/b", "a/c/d", "a/#"]);

    // A rule that nobody can read allows nothing, and denies everything.
    for (allows, expected) in [(true, vec!["a/b"]), (false, vec![])] {
        let rules = [rule(allows, "a/#/b"), rule(true, "a/b")];
        let facts = UserFacts { rules: rules.into(), ..UserFacts::default() };
        assert_eq!(allowed(&policy.judge(&with_facts(facts)), &actions[..3]), expected);
    }
}

#[test]
fn an_exact_deny_is_about_that_filter_only() {
    let deny_all = Rule { publish: false, ..Rule::deny(exact("#")) };
    let judged = of_rules(&[deny_all], DefaultAccess::Allow);
    let actions = [subscribe("#"), subscribe("+/#"), subscribe("a/#"), receive("a"), publish("a")];
    assert_eq!(allowed(&judged, &actions), ["+/#", "a/#", "a", "a"]);

    let judged = of_rules(&[Rule::allow(exact("a/#"))], DefaultAccess::Deny);
    let actions = [subscribe("a/#"), subscribe("a/b"), receive("a/b"), publish("a/b")];
    assert_eq!(allowed(&judged, &actions), ["a/#", "a/b"]);
    assert!(judged.decide(receive("a/b")).allowed && !judged.decide(publish("a/b")).allowed);
}

#[test]
fn qos_is_that_of_the_request() {
    let low = QosSet::from_iter([QoS::AtMostOnce]);
    let asked = |policy: &ClientPolicy, qos| {
        let publish = Action::Publish { topic: "a", qos, retain: true };
        let subscribe = Action::Subscribe { filter: "a", qos };
        [publish, subscribe, receive("a")].map(|action| policy.decide(action).allowed)
    };
    let judged = of_rules(&[Rule { qos: low, ..allow(&["a"]) }], DefaultAccess::Deny);
    assert_eq!(asked(&judged, QoS::AtMostOnce), [true, true, true]);
    assert_eq!(asked(&judged, QoS::ExactlyOnce), [false, false, true]);
    let judged = of_rules(&[Rule { qos: low, ..deny(&["a"]) }], DefaultAccess::Allow);
    assert_eq!(asked(&judged, QoS::AtMostOnce), [false, false, true]);
    assert_eq!(asked(&judged, QoS::ExactlyOnce), [true, true, true]);
    let judged = of_rules(&[Rule { retain: Some(true), ..deny(&["a"]) }], DefaultAccess::Allow);
    assert_eq!(asked(&judged, QoS::AtMostOnce), [false, false, false]);
    let judged = of_rules(&[Rule { retain: Some(false), ..deny(&["a"]) }], DefaultAccess::Allow);
    assert_eq!(asked(&judged, QoS::AtMostOnce), [true, false, false]);
}

#[test]
fn rules_hold_for_networks_and_listeners() {
    let from = |address: &str, listener| Identity {
        source: Some(Source { listener: Some(listener), address: Some(address.parse().unwrap()) }),
        ..user("u")
    };
    let networks = Some(vec!["10.0.0.0/8".parse().unwrap()]);
    let rules = [Rule { networks, listeners: Some(vec![1]), ..allow(&["a"]) }];
    let policy = policy(Model::new(), &rules, DefaultAccess::Deny);
    let may = |client: &Identity| policy.judge(client).decide(publish("a")).allowed;
    assert!(may(&from("10.1.2.3", 1)));
    // As a listener on `[::]` sees an IPv4 address.
    assert!(may(&from("::ffff:10.1.2.3", 1)));
    assert!(!may(&from("10.1.2.3", 2)));
    assert!(!may(&from("11.1.2.3", 1)));
    assert!(!may(&user("u")));
}

#[test]
fn a_rule_ends_when_its_time_has_come() {
    let until = |end| Rule { valid_until: Some(end), ..allow(&["a"]) };
    let policy =
        policy(Model::new(), &[until(2_000), until(1_500), until(900)], DefaultAccess::Deny);
    let may = || policy.judge(&user("u")).decide(publish("a")).allowed;
    assert!(may());
    assert_eq!(policy.next_change(), Some(1_500));
    policy.set_time(1_500);
    assert!(may());
    assert_eq!(policy.next_change(), Some(2_000));
    policy.set_time(2_000);
    assert!(!may());
    assert_eq!(policy.next_change(), None);
}

#[test]
fn a_later_rule_that_says_more_is_not_forgotten() {
    let others: Vec<Rule> = (0..10).map(|number| deny(&[&format!("other/{number}")])).collect();
    let deny_publish = || Rule { subscribe: false, ..deny(&["a/#"]) };
    let retained = Rule { retain: Some(true), reference: "first".into(), ..deny_publish() };
    let low = QosSet::from_iter([QoS::AtMostOnce]);
    let low = Rule { qos: low, reference: "second".into(), ..deny_publish() };
    let rules = [vec![retained, low, deny_publish()], others].concat();
    let policy = policy(Model::new(), &rules, DefaultAccess::Allow);
    let judged = policy.judge(&user("u"));
    for (qos, retain, expected) in [
        (QoS::AtMostOnce, true, "first"),
        (QoS::AtMostOnce, false, "second"),
        (QoS::AtLeastOnce, false, "the deny"),
    ] {
        let decision = judged.decide(Action::Publish { topic: "a/b", qos, retain });
        assert_eq!(policy.describe(decision.by), expected);
    }
}

#[test]
fn a_client_of_many_large_groups_has_all_of_them() {
    let mut model = Model::new();
    for group in 0..20 {
        let templates = (0..200).map(|it| Template::parse(&format!("g{group}/{it}")).unwrap());
        let name = format!("group-{group}");
        model = model
            .group(&name, Some(Query::parse("client.id != ''").unwrap()))
            .topic_space(&name, templates.collect())
            .binding(&name, &name, Permission::Publisher);
    }
    let policy = policy(model, &[], DefaultAccess::Deny);
    let judged = policy.judge(&user("u"));
    for group in 0..20 {
        assert!(judged.decide(publish(&format!("g{group}/199"))).allowed);
        assert!(!judged.decide(publish(&format!("g{group}/200"))).allowed);
    }
    let groups = policy.groups_of(&user("u"));
    assert_eq!((&*groups[0], &*groups[20], groups.len()), ("$all", "group-9", 21));
}

#[test]
fn many_statements_about_one_topic_are_told_apart() {
    let rule = |number: usize| {
        let name = format!("user{number}");
        let rule = if number.is_multiple_of(3) { deny(&["a/#"]) } else { allow(&["a/#"]) };
        Rule { who: Who::users(&[&name, "everywhere"]), reference: name.into(), ..rule }
    };
    let rules: Vec<Rule> = (1..40).map(rule).collect();
    let policy = policy(Model::new(), &rules, DefaultAccess::Allow);
    for number in 1..40 {
        let name = format!("user{number}");
        let decision = policy.judge(&user(&name)).decide(publish("a/b"));
        assert_eq!((decision.allowed, policy.describe(decision.by)), (number % 3 != 0, name));
    }
    let decision = policy.judge(&user("everywhere")).decide(publish("a/b"));
    assert_eq!((decision.allowed, &*policy.describe(decision.by)), (false, "user3"));
    assert_eq!(policy.judge(&user("nobody")).decide(publish("a/b")).by, DecidedBy::Default);
}

#[test]
fn levels_with_variables_are_told_apart_by_what_stands_around_them() {
    let variables = ["client.id", "client.username", "client.attributes.n"];
    let around = [("", ""), ("a", ""), ("b", ""), ("aa", ""), ("", "a"), ("a", "b"), ("é", "a")];
    let levels = |value: &dyn Fn(usize) -> String| -> Vec<String> {
        let of_variable = |number| {
            let level = move |(before, behind)| (number, before, behind);
            around.iter().copied().map(level)
        };
        let levels = (0..variables.len()).flat_map(of_variable);
        levels
            .map(|(number, before, behind)| format!("{before}{}{behind}", value(number)))
            .collect()
    };
    let templates = levels(&|number| format!("${{{}}}", variables[number]));
    let rules: Vec<Rule> = templates
        .iter()
        .map(|it| Rule { reference: it.as_str().into(), ..allow(&[&format!("x/{it}/#")]) })
        .collect();
    let policy = policy(Model::new(), &rules, DefaultAccess::Deny);
    let attributes = [("n".into(), UserAttribute::Number(7))].into();
    let facts = UserFacts { attributes, ..UserFacts::default() };
    let client = Identity { client_id: "aé".into(), ..with_facts(facts) };
    let judged = policy.judge(&client);
    let topics = levels(&|number| ["aé", "u", "7"][number].to_string());
    for topic in topics.iter().map(|level| format!("x/{level}")) {
        let fits = |rule: &&Rule| {
            let own = rule.topics[0].template.resolve(&client).unwrap();
            midge_auth::topic_filter::matches(&own, &topic)
        };
        let expected = &rules.iter().find(fits).unwrap().reference;
        assert_eq!(policy.describe(judged.decide(publish(&topic)).by), **expected, "{topic}");
    }
    for topic in ["x/a", "x/é", "x/", "x/b", "x/8", "x/ab", "x/aa", "x/aéc", "x/éa"] {
        assert!(!judged.decide(publish(topic)).allowed, "{topic}");
    }
}

#[test]
fn variables_are_those_of_their_own_place() {
    let topics = |prefix: &str| -> Vec<String> {
        (0..10).map(|it| format!("{prefix}/${{client.attributes.{prefix}{it}}}")).collect()
    };
    let topics = [topics("a"), topics("b")].concat();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let attributes = (0..10).flat_map(|it| {
        [("a", it), ("b", it + 10)]
            .map(|(prefix, value)| (format!("{prefix}{it}").into(), UserAttribute::Number(value)))
    });
    let facts = UserFacts { attributes: attributes.collect(), ..UserFacts::default() };
    let policy = policy(Model::new(), &[allow(&topics)], DefaultAccess::Deny);
    let judged = policy.judge(&with_facts(facts));
    let actions = [publish("a/9"), publish("a/10"), publish("b/10"), publish("b/9")];
    assert_eq!(allowed(&judged, &actions), ["a/9", "b/10"]);
}

#[test]
fn s07_a_deep_topic_costs_no_stack() {
    let deep = "a/".repeat(32_000);
    let template = Template::parse(&"+/".repeat(2_000)).unwrap();
    let mut topics = patterns(&["b/#"; 10]);
    topics.push(TopicPattern::new(template));
    let judged = of_rules(&[Rule::allow(topics)], DefaultAccess::Deny);
    assert!(!judged.decide(publish(&deep)).allowed);
    assert!(judged.decide(publish(&"a/".repeat(2_000))).allowed);
}

/// A source that somebody else has written.
struct Fixed(bool);

impl RuleSource for Fixed {
    fn judge(&self, _: &Identity) -> Option<Box<dyn Judge>> {
        Some(Box::new(Self(self.0)))
    }

    fn describe(&self, _: u32) -> String {
        "fixed".into()
    }
}

impl Judge for Fixed {
    fn opinion(&self, _: Action<'_>) -> Option<Opinion> {
        Some(Opinion { allows: self.0, rule: 0 })
    }
}

#[test]
fn all_sources_are_asked() {
    let rules = || Box::new(RuleSet::new(&[allow(&["a"])]).unwrap());
    let sources: Vec<Box<dyn RuleSource>> = vec![rules(), Box::new(Fixed(false))];
    let policy = AccessPolicy::new(Model::new(), sources, DefaultAccess::Allow, 0).unwrap();
    let decision = policy.judge(&user("u")).decide(publish("a"));
    assert!(!decision.allowed);
    assert_eq!(policy.describe(decision.by), "fixed");
}
