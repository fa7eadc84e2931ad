//! A compiled policy says the same as the naive one, whatever the model, the rules and the Clients.

use std::sync::Arc;

use midge_auth::{
    AccessPolicy, Action, DecidedBy, DefaultAccess, Model, Permission, QosSet, Query,
    RegisteredClient, Rule, RuleSet, Template, TopicPattern, Who, topic_filter,
};
use midge_codec::QoS;
use midge_core::{CredentialRule, Identity, Source, UserAttribute, UserAttributes, UserFacts};
use proptest::prelude::*;
use proptest::sample::select;

use crate::naive::{Answer, World};

const NAMES: &[&str] = &["a", "b", "$x", "c+", "a/b"];
const GROUPS: &[&str] = &["group-0", "group-1", "group-2", "group-3", "declared"];

fn level() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "a",
            "b",
            "",
            "+",
            "${client.id}",
            "${client.username}",
            "${client.attributes.t}",
            "x-${client.attributes.n}",
            "${client.id|b}",
            "${client.attributes.t}${client.id}",
        ][..],
    )
}

fn template() -> impl Strategy<Value = Template> {
    let first = prop_oneof![6 => level(), 1 => Just("$SYS"), 1 => Just("$events"), 1 => Just("$x")];
    let rest = prop::collection::vec(level(), 0..3);
    let levels = (first, rest, any::<bool>()).prop_map(|(first, rest, has_multi)| {
        let mut levels = vec![first];
        levels.extend(rest);
        if has_multi {
            levels.push("#");
        }
        levels.join("/")
    });
    prop_oneof![12 => levels, 1 => Just("#".to_string())]
        .prop_filter_map("no template", |text| Template::parse(&text).ok())
}

fn asked_level() -> impl Strategy<Value = &'static str> {
    select(&["a", "b", "", "x-1", "x-2", "ab", "bb", "aa"][..])
}

fn topic() -> impl Strategy<Value = String> {
    let first =
        prop_oneof![6 => asked_level(), 1 => Just("$SYS"), 1 => Just("$events"), 1 => Just("$x")];
    let levels = (first, prop::collection::vec(asked_level(), 0..4));
    levels
        .prop_map(|(first, rest)| {
            let levels: Vec<_> = std::iter::once(first).chain(rest).collect();
            levels.join("/")
        })
        .prop_filter("empty", |topic| !topic.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let first = prop_oneof![5 => asked_level(), 2 => Just("+"), 1 => Just("$SYS"), 1 => Just("$x")];
    let level = prop_oneof![4 => asked_level(), 1 => Just("+")];
    let levels = (first, prop::collection::vec(level, 0..3), any::<bool>());
    let levels = levels.prop_map(|(first, rest, has_multi)| {
        let mut levels: Vec<_> = std::iter::once(first).chain(rest).collect();
        if has_multi {
            levels.push("#");
        }
        levels.join("/")
    });
    prop_oneof![12 => levels, 1 => Just("#".to_string())].prop_filter("", |it| !it.is_empty())
}

fn qos() -> impl Strategy<Value = QoS> {
    select(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][..])
}

fn attributes() -> impl Strategy<Value = UserAttributes> {
    let value = prop_oneof![
        select(&["a", "b", "+", ""][..]).prop_map(|it| UserAttribute::Text(it.into())),
        (0..3_i64).prop_map(UserAttribute::Number),
        prop::collection::vec(select(&["a", "b"][..]), 0..3)
            .prop_map(|it| UserAttribute::List(it.into_iter().map(Box::from).collect())),
    ];
    prop::collection::btree_map(select(&["t", "n"][..]).prop_map(Box::from), value, 0..3)
}

fn query() -> impl Strategy<Value = Option<Query>> {
    let query = select(
        &[
            "attributes.t = 'a'",
            "attributes.t != 'a'",
            "attributes.n IN [1, 2] AND attributes.t = 'b'",
            "attributes.n >= 1 OR client.id = 'a'",
            "authenticationName = 'a' OR 'b' IN attributes.t",
            "NOT (attributes.n = 1 OR attributes.t IN ('a', 'b'))",
            "client.id IN ['a', 'b', 'c+']",
        ][..],
    );
    prop_oneof![6 => query.prop_map(|it| Some(Query::parse(it).unwrap())), 1 => Just(None)]
}

fn registered() -> impl Strategy<Value = RegisteredClient> {
    let client_ids = prop::option::weighted(0.2, prop::collection::vec(select(NAMES), 1..3));
    let parts = (select(NAMES), attributes(), prop::bool::weighted(0.85), client_ids);
    parts.prop_map(|(name, attributes, is_enabled, client_ids)| RegisteredClient {
        user_name: name.into(),
        attributes,
        is_enabled,
        client_ids: client_ids.map(|it| it.into_iter().map(Box::from).collect()),
    })
}

prop_compose! {
    fn model()(
        clients in prop::collection::vec(registered(), 0..3),
        queries in prop::collection::vec(query(), GROUPS.len() - 1),
        spaces in prop::collection::vec(prop::collection::vec(template(), 1..5), 1..4),
        bindings in prop::collection::vec((0..GROUPS.len() + 1, 0..4_usize, any::<bool>()), 0..12),
    ) -> Model {
        let mut model = Model::new().group("declared", None);
        for client in clients {
            if !model.clients.iter().any(|it| it.user_name == client.user_name) {
                model = model.client(client);
            }
        }
        for (name, query) in GROUPS.iter().zip(queries) {
            model = model.group(name, query);
        }
        let spaces_count = spaces.len();
        for (number, templates) in spaces.into_iter().enumerate() {
            model = model.topic_space(&format!("space-{number}"), templates);
        }
        for (group, space, publishes) in bindings {
            let permission = if publishes { Permission::Publisher } else { Permission::Subscriber };
            let group = GROUPS.get(group).unwrap_or(&"$all");
            let space = format!("space-{}", space % spaces_count);
            let is_same = |it: &midge_auth::Binding| {
                &*it.group == *group && *it.topic_space == *space && it.permission == permission
            };
            if !model.bindings.iter().any(is_same) {
                model = model.binding(group, &space, permission);
            }
        }
        model
    }
}

fn who() -> impl Strategy<Value = Who> {
    let some = |from: &'static [&'static str]| {
        prop::collection::vec(select(from).prop_map(Box::from), 0..2)
    };
    let lists = (some(NAMES), some(NAMES), some(&["group-0", "group-1", "$all", "said"]));
    let any_of = lists.prop_filter_map("nobody", |(users, client_ids, groups)| {
        let is_empty = users.is_empty() && client_ids.is_empty() && groups.is_empty();
        (!is_empty).then_some(Who::AnyOf { users, client_ids, groups })
    });
    prop_oneof![2 => Just(Who::Everybody), 1 => Just(Who::Anonymous), 4 => any_of]
}

fn pattern() -> impl Strategy<Value = TopicPattern> {
    (template(), prop::bool::weighted(0.25))
        .prop_map(|(template, is_exact)| TopicPattern { template, is_exact })
}

prop_compose! {
    fn rule()(
        allows in any::<bool>(),
        who in who(),
        (publish, subscribe) in select(&[(true, false), (false, true), (true, true)][..]),
        topics in prop::collection::vec(pattern(), 1..4),
        qos in prop_oneof![2 => Just(7_u8), 1 => 1..8_u8],
        retain in prop::option::weighted(0.2, any::<bool>()),
        networks in prop::option::weighted(0.2, select(&["10.0.0.0/8", "::/0", "10.1.2.3/32"][..])),
        listeners in prop::option::weighted(0.2, prop::collection::vec(0..3_u16, 1..3)),
        valid_until in prop::option::weighted(0.2, 0..4_u64),
    ) -> Rule {
        Rule {
            allows, who, publish, subscribe, topics, retain, listeners, valid_until,
            qos: QosSet::from_bits(qos),
            networks: networks.map(|it| vec![it.parse().unwrap()]),
            reference: "".into(),
        }
    }
}

prop_compose! {
    fn credential_rule()(
        allows in any::<bool>(),
        (publish, subscribe) in select(&[(true, false), (false, true), (true, true)][..]),
        topics in template(),
        qos in prop_oneof![2 => Just(7_u8), 1 => 1..8_u8],
        retain in prop::option::weighted(0.2, any::<bool>()),
    ) -> CredentialRule {
        let topics = topics.to_string().into();
        CredentialRule { allows, publish, subscribe, topics, qos, retain }
    }
}

prop_compose! {
    fn client()(
        client_id in select(NAMES),
        user_name in prop::option::weighted(0.8, select(NAMES)),
        attributes in attributes(),
        groups in prop::collection::vec(select(&["said", "declared", "group-0"][..]), 0..2),
        rules in prop_oneof![
            2 => Just(Vec::new()), 1 => prop::collection::vec(credential_rule(), 0..4)
        ],
        is_superuser in prop::bool::weighted(0.05),
        has_facts in prop::bool::weighted(0.8),
        source in prop::option::of((
            prop::option::of(0..3_u16),
            prop::option::of(select(&["10.1.2.3", "10.2.2.2", "::1"][..])),
        )),
    ) -> Identity {
        let facts = UserFacts {
            attributes,
            groups: groups.into_iter().map(Box::from).collect(),
            rules: rules.into(),
            is_superuser,
            ..UserFacts::default()
        };
        let source = source.map(|(listener, address)| Source {
            listener, address: address.map(|it| it.parse().unwrap()),
        });
        Identity {
            facts: has_facts.then(|| Arc::new(facts)),
            source,
            ..Identity::new(client_id.into(), user_name.map(Box::from))
        }
    }
}

fn world() -> impl Strategy<Value = World> {
    let rules = prop_oneof![
        3 => prop::collection::vec(rule(), 0..6), 1 => prop::collection::vec(rule(), 10..40)
    ];
    (model(), rules, 0..4_u64).prop_map(|(model, mut rules, now)| {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.reference = format!("rule {index}").into();
        }
        World { model, rules, now }
    })
}

fn policy(world: &World, default: DefaultAccess) -> AccessPolicy {
    let rules = RuleSet::new(&world.rules).unwrap();
    AccessPolicy::new(world.model.clone(), vec![Box::new(rules)], default, world.now).unwrap()
}

/// The naive answer in the compiled one's words.
fn words(policy: &AccessPolicy, answer: &Answer) -> String {
    let by = match answer {
        Answer::Denied(reference) | Answer::Allowed(reference) => return reference.clone(),
        Answer::Disabled => DecidedBy::Disabled,
        Answer::OtherClientId => DecidedBy::ClientIdentifier,
        Answer::BrokerPublishes => DecidedBy::BrokerPublishes,
        Answer::Superuser => DecidedBy::Superuser,
        Answer::NoGrant => DecidedBy::NoGrant,
        Answer::Default => DecidedBy::Default,
    };
    policy.describe(by)
}

fn check(
    world: &World,
    clients: &[Identity],
    topics: &[String],
    filters: &[String],
    (qos, retain): (QoS, bool),
) -> Result<(), TestCaseError> {
    for default in [DefaultAccess::Deny, DefaultAccess::Allow] {
        let policy = policy(world, default);
        for client in clients {
            let judged = policy.judge(client);
            let of_topic =
                |topic| [Action::Publish { topic, qos, retain }, Action::Receive { topic }];
            let of_topics = topics.iter().flat_map(|topic| of_topic(topic));
            let of_filters = filters.iter().map(|filter| Action::Subscribe { filter, qos });
            for action in of_topics.chain(of_filters) {
                let expected = world.answer(client, action);
                let decision = judged.decide(action);
                let by_default = default == DefaultAccess::Allow;
                prop_assert_eq!(
                    (decision.allowed, policy.describe(decision.by)),
                    (expected.is_allowed(by_default), words(&policy, &expected)),
                    "{:?} by {:?}",
                    action,
                    client
                );
            }
            let stays = !matches!(
                world.answer(client, Action::Receive { topic: "a" }),
                Answer::Disabled | Answer::OtherClientId
            );
            prop_assert_eq!(judged.may_stay(), stays);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_compiled_policy_says_what_the_naive_one_says(
        world in world(),
        clients in prop::collection::vec(client(), 1..4),
        topics in prop::collection::vec(topic(), 1..8),
        filters in prop::collection::vec(filter(), 1..8),
        qos in qos(),
        retain in any::<bool>(),
    ) {
        check(&world, &clients, &topics, &filters, (qos, retain))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Where nothing is denied, an allowed subscription brings all that its filter matches.
    #[test]
    fn what_a_subscription_was_allowed_for_arrives(
        world in world(),
        client in client(),
        filters in prop::collection::vec(filter(), 1..20),
        topics in prop::collection::vec(topic(), 1..20),
        qos in qos(),
    ) {
        let mut world = world;
        world.rules.retain(|rule| rule.allows);
        let mut client = client;
        if let Some(facts) = &mut client.facts {
            Arc::make_mut(facts).rules = [].into();
        }
        let judged = policy(&world, DefaultAccess::Deny).judge(&client);
        let subscribe = |filter: &&String| {
            judged.decide(Action::Subscribe { filter, qos }).allowed
        };
        for filter in filters.iter().filter(subscribe) {
            for topic in topics.iter().filter(|topic| topic_filter::matches(filter, topic)) {
                let receive = Action::Receive { topic };
                prop_assert!(judged.decide(receive).allowed, "{} {}", filter, topic);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// More groups than trees that are searched, so that some are merged.
    #[test]
    fn a_client_of_many_groups_has_what_each_of_them_has(
        spaces in prop::collection::vec(prop::collection::vec(template(), 1..6), 24),
        denied in prop::collection::vec(pattern(), 1..4),
        client in client(),
        topics in prop::collection::vec(topic(), 1..8),
        filters in prop::collection::vec(filter(), 1..8),
    ) {
        let mut model = Model::new();
        for (number, templates) in spaces.into_iter().enumerate() {
            let (group, space) = (format!("group-{number}"), format!("space-{number}"));
            let query = Query::parse(&format!("client.id != 'x' OR attributes.n = {number}"));
            let permission =
                if number % 2 == 0 { Permission::Publisher } else { Permission::Subscriber };
            model = model
                .topic_space(&space, templates)
                .group(&group, Some(query.unwrap()))
                .binding(&group, &space, permission);
        }
        let rule = Rule { reference: "it".into(), ..Rule::deny(denied) };
        let world = World { model, rules: vec![rule], now: 0 };
        check(&world, &[client], &topics, &filters, (QoS::AtLeastOnce, false))?;
    }
}
