//! S01: no identifier, user name or attribute makes a template stand for more than the level that
//! it is.

use std::sync::Arc;

use midge_auth::{
    AccessPolicy, Action, DefaultAccess, Model, Permission, Rule, RuleSet, Template, TopicPattern,
};
use midge_codec::QoS;
use midge_core::{Identity, UserAttribute, UserFacts};
use proptest::prelude::*;

/// Any text, with what could do harm more often.
fn value() -> impl Strategy<Value = String> {
    let parts = prop_oneof![
        any::<char>().prop_map(String::from),
        prop::sample::select(&["+", "#", "/", "$", "$SYS", "a", "\0", "${client.id}", "|", ""][..])
            .prop_map(String::from),
    ];
    prop_oneof![
        any::<String>(),
        prop::collection::vec(parts, 0..4).prop_map(|parts| parts.concat()),
    ]
}

fn client(client_id: &str, user_name: &str, attribute: &str) -> Identity {
    let attributes = [("a".into(), UserAttribute::Text(attribute.into()))].into();
    Identity {
        facts: Some(Arc::new(UserFacts { attributes, ..UserFacts::default() })),
        ..Identity::new(client_id.into(), Some(user_name.into()))
    }
}

/// A policy in which each variable has a place of its own; as bindings, or as rules.
fn policy(prefix: &str, as_rules: bool) -> AccessPolicy {
    let templates: Vec<Template> = ["client.id", "client.username", "client.attributes.a"]
        .iter()
        .map(|variable| Template::parse(&format!("{prefix}${{{variable}}}/y")).unwrap())
        // So many that they make a tree.
        .chain((0..10).map(|number| Template::parse(&format!("other/{number}")).unwrap()))
        .collect();
    if as_rules {
        let rule = Rule::allow(templates.into_iter().map(TopicPattern::new).collect());
        let rules = RuleSet::new(&[rule]).unwrap();
        let sources: Vec<Box<dyn midge_auth::RuleSource>> = vec![Box::new(rules)];
        return AccessPolicy::new(Model::new(), sources, DefaultAccess::Deny, 0).unwrap();
    }
    let model = Model::new()
        .topic_space("own", templates)
        .binding("$all", "own", Permission::Publisher)
        .binding("$all", "own", Permission::Subscriber);
    AccessPolicy::new(model, Vec::new(), DefaultAccess::Deny, 0).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn s01_a_value_opens_its_own_level_and_nothing_else(
        client_id in value(),
        user_name in value(),
        attribute in value(),
        asked in value(),
        prefix in prop::sample::select(&["", "x/", "x/y-"][..]),
        as_rules in any::<bool>(),
    ) {
        let judged = policy(prefix, as_rules).judge(&client(&client_id, &user_name, &attribute));
        let values = [&client_id, &user_name, &attribute];
        let is_plain = |value: &&&String| {
            let is_reserved = prefix.is_empty() && value.starts_with('$');
            !value.is_empty() && !value.contains(['/', '+', '#', '\0']) && !is_reserved
        };
        for topic in [format!("{prefix}{asked}/y"), format!("{prefix}{asked}")] {
            let is_own = |value: &&String| topic == format!("{prefix}{value}/y");
            let expected = values.iter().filter(is_plain).any(is_own);
            let qos = QoS::AtMostOnce;
            for action in [
                Action::Publish { topic: &topic, qos, retain: false },
                Action::Receive { topic: &topic },
                Action::Subscribe { filter: &topic, qos },
            ] {
                prop_assert_eq!(judged.decide(action).allowed, expected, "{:?}", action);
            }
        }
        for filter in ["+/y", "x/+/y", "#", "x/#", "+", "$SYS/#", "$SYS/y", "$events/y"] {
            let action = Action::Subscribe { filter, qos: QoS::AtMostOnce };
            prop_assert!(!judged.decide(action).allowed, "{}", filter);
        }
    }
}
