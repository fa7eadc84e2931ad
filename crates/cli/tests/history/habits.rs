//! Who takes part, and how they behave: a table, with small changes that the seed makes.

use midge_codec::ProtocolVersion::{self, V3_1, V3_1_1, V5};
use midge_codec::{QoS, SubscriptionOptions};

use crate::common::random::Random;

const QOS_0: QoS = QoS::AtMostOnce;
const QOS_1: QoS = QoS::AtLeastOnce;
const QOS_2: QoS = QoS::ExactlyOnce;

/// The lifetime in seconds of a Session of MQTT 3, and of a lasting one of MQTT 5.
const LONG: u32 = 3600;

/// How a Client behaves.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) id: String,
    pub(crate) version: ProtocolVersion,
    /// Whether it always asks for Clean Start.
    pub(crate) is_clean: bool,
    /// The lifetime of its Session; 0: it ends with the Network Connection.
    pub(crate) expiry_seconds: u32,
    /// It resets its Session one time in this many; 0: never.
    pub(crate) clean_one_in: u64,
    /// Its Receive Maximum; 0: the largest possible.
    pub(crate) receive_maximum: u16,
    /// Whether it allows Topic Aliases, and gives its subscriptions an identifier.
    pub(crate) takes_aliases: bool,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) will: Option<WillPlan>,
    pub(crate) filters: Vec<(&'static str, SubscriptionOptions)>,
    /// In one of this many turns it gives up a subscription, which it takes again later; 0: never.
    pub(crate) churns_one_in: u64,
    pub(crate) publishes: Vec<PublishPlan>,
    /// It withholds acknowledgements for a while one time in this many; 0: never.
    pub(crate) withholds_one_in: u64,
    /// Whether it stops reading from time to time.
    pub(crate) is_lazy: bool,
    /// How long it stays connected, and how long away, in milliseconds.
    pub(crate) stays_ms: (u64, u64),
    pub(crate) away_ms: (u64, u64),
    pub(crate) leaves: &'static [Leaving],
    /// Whether it may be away when everything settles.
    pub(crate) may_stay_away: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WillPlan {
    pub(crate) qos: QoS,
    /// The longest Will Delay Interval; 0: no delay.
    pub(crate) delay_seconds_max: u32,
}

/// How a Client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    Goodbye,
    WithWill,
    Cut,
    CutInside,
    Takeover,
    /// With a DISCONNECT that ends the Session.
    ForGood,
}

/// What a Client publishes, on topics of the form `KIND/CLIENT/NUMBER`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublishPlan {
    pub(crate) kind: &'static str,
    pub(crate) topics: u64,
    pub(crate) qos: &'static [QoS],
    /// The most messages of QoS 1 and 2 under way.
    pub(crate) window: usize,
    /// The pause between two bursts, and the most messages in a burst.
    pub(crate) pause_ms: (u64, u64),
    pub(crate) burst: u64,
    pub(crate) retain: bool,
    pub(crate) expiries: &'static [Option<u32>],
    pub(crate) delay_seconds_max: u64,
    pub(crate) bytes: (u64, u64),
    pub(crate) uses_alias: bool,
}

const ALL_ENDS: &[Leaving] =
    &[Leaving::Goodbye, Leaving::Cut, Leaving::CutInside, Leaving::Takeover, Leaving::WithWill];

const ENDS_OF_SESSIONS: &[Leaving] =
    &[Leaving::ForGood, Leaving::ForGood, Leaving::Cut, Leaving::Takeover, Leaving::WithWill];

const PLAN: PublishPlan = PublishPlan {
    kind: "t",
    topics: 2,
    qos: &[QOS_1, QOS_2],
    window: 10,
    pause_ms: (10, 120),
    burst: 3,
    retain: false,
    expiries: &[None],
    delay_seconds_max: 0,
    bytes: (10, 120),
    uses_alias: false,
};

fn habits(id: &str, version: ProtocolVersion) -> Habits {
    Habits {
        id: id.to_owned(),
        version,
        is_clean: false,
        expiry_seconds: LONG,
        clean_one_in: 0,
        receive_maximum: 0,
        takes_aliases: false,
        keep_alive_seconds: 0,
        will: None,
        filters: Vec::new(),
        churns_one_in: 0,
        publishes: Vec::new(),
        withholds_one_in: 0,
        is_lazy: false,
        stays_ms: (500, 6000),
        away_ms: (0, 1500),
        leaves: ALL_ENDS,
        may_stay_away: false,
    }
}

fn at(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

impl Habits {
    pub(crate) fn is_v5(&self) -> bool {
        self.version == V5
    }

    /// Returns whether it handles at once what arrives, so that times mean something.
    pub(crate) fn is_prompt(&self) -> bool {
        !self.is_lazy && self.withholds_one_in == 0 && self.receive_maximum == 0
    }

    fn clean(self) -> Self {
        Self { is_clean: true, expiry_seconds: 0, ..self }
    }

    fn filters(self, filters: &[(&'static str, QoS)]) -> Self {
        let filters = filters.iter().map(|(filter, qos)| (*filter, at(*qos))).collect();
        Self { filters, ..self }
    }

    fn publishes(mut self, plan: PublishPlan) -> Self {
        self.publishes.push(plan);
        self
    }

    fn stays(self, stays_ms: (u64, u64), away_ms: (u64, u64)) -> Self {
        Self { stays_ms, away_ms, ..self }
    }
}

/// Returns all Clients. `is_heavy`: with more traffic than most machines take beside other tests.
pub(crate) fn cast(random: &mut Random, is_heavy: bool) -> Vec<Habits> {
    let mut cast = publishers(random);
    cast.extend(subscribers());
    cast.extend(odd_ones());
    cast.extend(members());
    cast.extend(testators());
    if is_heavy {
        cast.extend(heavy_ones());
    }
    cast
}

/// Returns the Client that looks at the retained messages when all is over.
pub(crate) fn inspector() -> Habits {
    habits("inspector", V5).clean()
}

fn publishers(random: &mut Random) -> Vec<Habits> {
    let old = if random.once_in(2) { V3_1 } else { V3_1_1 };
    let expiring = PublishPlan { expiries: &[None, Some(1), Some(2), Some(3600)], ..PLAN };
    vec![
        habits("pub-0", V5).publishes(PublishPlan { uses_alias: true, ..PLAN }),
        habits("pub-1", V3_1_1).publishes(PublishPlan { qos: &[QOS_1], ..PLAN }),
        habits("pub-2", V5).publishes(PublishPlan { qos: &[QOS_0, QOS_1, QOS_2], ..expiring }),
        Habits { withholds_one_in: 4, ..habits("pub-3", old) }.publishes(PublishPlan {
            qos: &[QOS_2],
            window: 20,
            ..PLAN
        }),
        habits("pub-4", V5).clean().publishes(PLAN).stays((200, 3000), (0, 500)),
        habits("pub-5", V3_1_1).clean().publishes(PLAN),
        habits("retainer", V5).publishes(PublishPlan {
            kind: "r",
            topics: 12,
            retain: true,
            expiries: &[None, None, Some(3), Some(3600)],
            ..PLAN
        }),
        habits("delayer", V5).publishes(PublishPlan {
            kind: "d",
            delay_seconds_max: 3,
            pause_ms: (50, 300),
            ..PLAN
        }),
        habits("filler", V5).publishes(PublishPlan {
            kind: "x",
            topics: 1,
            expiries: &[Some(1)],
            window: 6,
            bytes: (200_000, 250_000),
            pause_ms: (250, 350),
            burst: 3,
            ..PLAN
        }),
        habits("small-filler", V5).publishes(PublishPlan {
            kind: "x",
            topics: 1,
            pause_ms: (200, 600),
            ..PLAN
        }),
    ]
}

fn subscribers() -> Vec<Habits> {
    let rap = SubscriptionOptions { retain_as_published: true, ..at(QOS_2) };
    let own = SubscriptionOptions { no_local: true, ..at(QOS_2) };
    let all = &[("t/#", QOS_2), ("d/#", QOS_2)];
    vec![
        habits("sub-all", V5).filters(all).stays((3000, 9000), (0, 300)),
        habits("sub-all-3", V3_1_1).filters(&[("t/+/1", QOS_1), ("d/#", QOS_1)]),
        Habits { receive_maximum: 3, withholds_one_in: 6, ..habits("sub-narrow", V5) }
            .filters(&[("t/#", QOS_2)]),
        Habits { withholds_one_in: 20, ..habits("sub-old", V3_1) }.filters(&[("t/+/0", QOS_2)]),
        habits("sub-clean", V5).clean().filters(&[("t/#", QOS_1), ("r/#", QOS_1)]),
        habits("sub-clean-3", V3_1_1).clean().filters(&[("t/#", QOS_2)]),
        Habits { takes_aliases: true, ..habits("sub-overlap", V5) }.filters(&[
            ("t/#", QOS_1),
            ("t/+/1", QOS_2),
            ("t/0/#", QOS_2),
        ]),
        Habits { is_lazy: true, ..habits("sub-lazy", V5) }.filters(&[("t/#", QOS_2)]),
        habits("sub-absent", V5).filters(&[("x/#", QOS_1)]).stays((200, 900), (4500, 8000)),
        Habits { filters: vec![("r/#", rap), ("t/#", own)], ..habits("sub-options", V5) }
            .publishes(PLAN),
    ]
}

/// Returns Clients whose Sessions and subscriptions come and go.
fn odd_ones() -> Vec<Habits> {
    let both = &[("t/0/#", QOS_2), ("t/1/#", QOS_2)];
    let mut odd = vec![
        Habits { clean_one_in: 2, withholds_one_in: 3, ..habits("resetter", V5) }
            .filters(both)
            .publishes(PublishPlan { qos: &[QOS_2], ..PLAN })
            .stays((200, 1500), (0, 400)),
        Habits { leaves: ENDS_OF_SESSIONS, ..habits("leaver", V5) }
            .filters(both)
            .publishes(PublishPlan { qos: &[QOS_2], ..PLAN })
            .stays((200, 2000), (0, 400)),
        Habits { churns_one_in: 12, ..habits("churner", V5) }.filters(&[
            ("t/1/#", QOS_2),
            ("t/2/#", QOS_1),
            ("t/0/#", QOS_1),
        ]),
        Habits { churns_one_in: 12, ..habits("churner-3", V3_1_1) }
            .filters(&[("t/1/#", QOS_2), ("t/2/#", QOS_1)]),
        Habits { expiry_seconds: 3, ..habits("short", V5) }
            .filters(&[("t/0/#", QOS_2)])
            .stays((300, 1500), (0, 7000)),
        Habits { expiry_seconds: 2, ..habits("shorter", V5) }
            .filters(&[("t/1/#", QOS_1)])
            .stays((300, 1500), (0, 6000)),
        // Clean Start 0, and yet its Session ends with each connection.
        Habits { expiry_seconds: 0, ..habits("ephemeral", V5) }
            .filters(&[("t/2/#", QOS_2)])
            .stays((300, 3000), (0, 300)),
    ];
    for (number, version) in [V5, V3_1_1, V5].into_iter().enumerate() {
        let keep_alive_seconds = 1 + number as u16 % 2;
        let pinger = Habits { keep_alive_seconds, ..habits(&format!("pinger-{number}"), version) };
        odd.push(pinger.clean().filters(&[("t/0/0", QOS_0)]).stays((20_000, 60_000), (0, 100)));
    }
    odd
}

/// Returns members of shared subscriptions. The group `fixed` loses nothing, because its members'
/// Sessions last.
fn members() -> Vec<Habits> {
    let mut members = Vec::new();
    for (number, version) in [V5, V3_1_1, V5].into_iter().enumerate() {
        members.push(
            habits(&format!("member-{number}"), version)
                .filters(&[("$share/fixed/t/#", QOS_2)])
                .stays((500, 5000), (0, 2500)),
        );
        members.push(
            Habits { churns_one_in: 8, ..habits(&format!("guest-{number}"), version) }
                .filters(&[("$share/churn/t/#", QOS_2)]),
        );
    }
    members
}

/// Returns Clients with Will Messages, and the Clients that receive these.
fn testators() -> Vec<Habits> {
    let will = |qos, delay_seconds_max| Some(WillPlan { qos, delay_seconds_max });
    let mortal = |id: &str, version, qos, delay| Habits {
        will: will(qos, delay),
        may_stay_away: true,
        ..habits(id, version).filters(&[("nothing/#", QOS_1)]).stays((100, 3000), (0, 1500))
    };
    vec![
        habits("heir", V5).filters(&[("w/#", QOS_2)]).stays((60_000, 90_000), (0, 10)),
        habits("heir-3", V3_1_1).filters(&[("w/+", QOS_1)]).stays((1000, 5000), (0, 1000)),
        mortal("mortal-0", V5, QOS_1, 0),
        mortal("mortal-1", V5, QOS_2, 0),
        mortal("mortal-2", V3_1_1, QOS_2, 0),
        mortal("mortal-3", V5, QOS_1, 3).stays((100, 2000), (0, 6000)),
        mortal("mortal-4", V5, QOS_2, 2).stays((100, 2000), (0, 5000)),
        Habits { clean_one_in: 3, ..mortal("mortal-5", V5, QOS_1, 3) },
        Habits { leaves: ENDS_OF_SESSIONS, ..mortal("mortal-9", V5, QOS_1, 2) },
        Habits { expiry_seconds: 2, ..mortal("mortal-6", V5, QOS_1, 5) }
            .stays((100, 2000), (0, 5000)),
        Habits { expiry_seconds: 0, ..mortal("mortal-7", V5, QOS_1, 0) },
        mortal("mortal-8", V3_1, QOS_1, 0).clean(),
    ]
}

fn heavy_ones() -> Vec<Habits> {
    vec![
        habits("heavy", V3_1_1)
            .publishes(PublishPlan {
                kind: "h",
                topics: 1,
                qos: &[QOS_2],
                window: 90,
                pause_ms: (0, 4),
                burst: 8,
                ..PLAN
            })
            .stays((10_000, 30_000), (0, 100)),
        habits("sleeper-0", V5).filters(&[("h/#", QOS_2)]).stays((6000, 9000), (1500, 3000)),
        habits("sleeper-1", V3_1_1).filters(&[("h/#", QOS_2)]).stays((6000, 9000), (1500, 3000)),
        habits("bulk", V5)
            .publishes(PublishPlan {
                kind: "b",
                topics: 30,
                qos: &[QOS_1],
                window: 40,
                pause_ms: (3000, 6000),
                burst: 30,
                retain: true,
                bytes: (850_000, 900_000),
                ..PLAN
            })
            .stays((10_000, 30_000), (0, 100)),
    ]
}
