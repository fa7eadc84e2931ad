//! Operations as workers might send them, and some that they should not.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use midge_codec::{PacketIdentifier, QoS, RetainHandling, SubscriptionOptions};
use midge_core::{
    Attributes, Commit, CredentialRule, Durability, Enqueue, GroupRecord, Identifiers, Identity,
    Kept, Message, MessageParts, Owner, Round, SessionRecord, StoreOp, StoredDelivery,
    SubscriptionRecord, Timestamp, UserAttribute, UserAttributes, UserFacts, WillRecord, WorkerId,
};

use super::model::Model;
use crate::testing::Random;

/// Makes operations that fit a model.
pub(super) struct Generator {
    pub(super) random: Random,
    /// Messages of this life of the process, to be sent to several owners.
    shared: Vec<Message>,
    commits: u64,
    messages: u64,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), shared: Vec::new(), commits: 0, messages: 0 }
    }

    /// Ends the process's life, after which nobody has its messages any more.
    pub(super) fn forget(&mut self) {
        self.shared.clear();
    }

    /// Makes a commit and applies it to the model, too.
    pub(super) fn commit(&mut self, model: &mut Model, ops_max: usize) -> Commit {
        let mut ops = Vec::new();
        for _ in 0..self.random.below(ops_max + 1) {
            let op = self.op(model);
            model.apply(&op);
            ops.push(op);
            self.follow(model, &mut ops);
        }
        self.commits += 1;
        Commit { number: self.commits, durability: Durability::Fsync, ops }
    }

    /// Lets the last operation be followed by the same for the next messages now and then, as when
    /// a Client acknowledges several at once. Some of them may not be there.
    fn follow(&mut self, model: &mut Model, ops: &mut Vec<StoreOp>) {
        while self.random.one_in(2) {
            let op = match *ops.last().unwrap() {
                StoreOp::Finished { owner, sequence } if sequence < u64::MAX => {
                    StoreOp::Finished { owner, sequence: sequence + 1 }
                }
                StoreOp::Taken { owner, sequence } if sequence < u64::MAX => {
                    StoreOp::Taken { owner, sequence: sequence + 1 }
                }
                _ => return,
            };
            model.apply(&op);
            ops.push(op);
        }
    }

    pub(super) fn op(&mut self, model: &Model) -> StoreOp {
        let session = self.session_number(model);
        let packet_id = self.packet_id();
        match self.random.below(40) {
            0 => StoreOp::Session(Box::new(self.session(model.next_number.max(1)))),
            1 if model.sessions.contains_key(&session) => {
                StoreOp::Session(Box::new(self.session(session)))
            }
            1 => StoreOp::Confirm(self.round()),
            2 => StoreOp::Group(self.group(model)),
            3..=4 => StoreOp::Detached {
                session,
                at: Timestamp::from_millis(self.random.next() >> 20),
                sent_before: self.random.below(20) as u64,
            },
            5 => StoreOp::WillGone { session },
            6..=8 => StoreOp::Subscribed { session, subscription: self.subscription() },
            9 => StoreOp::Unsubscribed { session, filter: self.filter() },
            10..=22 => StoreOp::Enqueue(Box::new(self.enqueue(model))),
            23..=25 => {
                let owner = Owner::Session(session);
                let sequence = self.waiting_for(owner, model, false);
                StoreOp::Taken { owner, sequence }
            }
            26..=31 => {
                let in_order = !self.random.one_in(4);
                let (owner, sequence) = self.waiting(model, in_order);
                StoreOp::Finished { owner, sequence }
            }
            32 => StoreOp::AwaitRelease { session, packet_id },
            33 => StoreOp::Released { session, packet_id },
            34 => StoreOp::Confirm(self.round()),
            35..=36 => {
                let number = match model.kept.keys().next() {
                    Some(number) if self.random.one_in(2) => *number,
                    _ => model.next_number.max(1),
                };
                self.keep(number)
            }
            37 => StoreOp::Unkeep { number: self.any_key(model.kept.keys().copied()) },
            38 => StoreOp::Ended(self.owner(model)),
            _ => StoreOp::Ended(Owner::Session(session)),
        }
    }

    fn any_key(&mut self, keys: impl ExactSizeIterator<Item = u64>) -> u64 {
        let keys: Vec<u64> = keys.collect();
        match keys.len() {
            0 => 12_345,
            _ if self.random.one_in(20) => 54_321,
            len => keys[self.random.below(len)],
        }
    }

    fn session_number(&mut self, model: &Model) -> u64 {
        // The Sessions that live longest get most of the operations.
        let keys: Vec<u64> = model.sessions.keys().take(8).copied().collect();
        self.any_key(keys.into_iter())
    }

    fn owner(&mut self, model: &Model) -> Owner {
        let owners = model.owners();
        match owners.len() {
            0 => Owner::Group(99_999),
            len => owners[self.random.below(len)],
        }
    }

    fn waiting(&mut self, model: &Model, in_order: bool) -> (Owner, u64) {
        let owner = self.owner(model);
        (owner, self.waiting_for(owner, model, in_order))
    }

    /// Returns the sequence of a message that waits, if there is one.
    fn waiting_for(&mut self, owner: Owner, model: &Model, in_order: bool) -> u64 {
        let mut model = model.clone();
        let Some(queue) = model.queue_mut(owner) else {
            return 0;
        };
        let sequences: Vec<u64> = queue.entries.keys().copied().collect();
        match sequences.len() {
            0 => queue.next,
            _ if in_order => sequences[0],
            len => sequences[self.random.below(len)],
        }
    }

    fn packet_id(&mut self) -> PacketIdentifier {
        PacketIdentifier::new(self.random.within(1..5) as u16).unwrap()
    }

    fn round(&mut self) -> Round {
        let worker = WorkerId::new(self.random.below(2));
        Round { worker, number: self.random.within(1..6) as u64 }
    }

    fn keep(&mut self, number: u64) -> StoreOp {
        match self.random.below(2) {
            0 => StoreOp::Keep { number, what: Kept::Retained, message: self.retained(number) },
            _ => {
                let at = Timestamp::from_millis(self.random.next() >> 1);
                StoreOp::Keep { number, what: Kept::Delayed(at), message: self.message() }
            }
        }
    }

    /// Makes a message for the topic that has its retained message under this number.
    fn retained(&mut self, number: u64) -> Message {
        let len = self.random.within(1..200);
        let message = self.message_of(len);
        let (topic, payload) = (format!("retained/{number}"), message.payload());
        let attributes = Attributes { retain: true, ..message.attributes() };
        let publisher = Arc::clone(message.publisher());
        let properties = message.properties();
        let parts = MessageParts { topic: &topic, properties, payload, attributes, publisher };
        let message = Message::new(parts);
        self.share(&message);
        message
    }

    fn filter(&mut self) -> Box<str> {
        format!("filter/{}/#", self.random.below(6)).into()
    }

    fn subscription(&mut self) -> SubscriptionRecord {
        let filter = self.filter();
        let retain_handling = RetainHandling::SendIfNew;
        let options = SubscriptionOptions { qos: self.qos(), retain_handling, ..<_>::default() };
        let identifier = NonZeroU32::new(self.random.below(3) as u32);
        SubscriptionRecord { filter, options, identifier }
    }

    fn qos(&mut self) -> QoS {
        QoS::from_bits(self.random.within(1..3) as u8).unwrap()
    }

    fn session(&mut self, number: u64) -> SessionRecord {
        // Now and then the Client has a Session already.
        let client = if self.random.one_in(6) { 0 } else { number };
        let client_id: Box<str> = format!("client-{client}").into();
        let user_name: Option<Box<str>> = self.random.one_in(2).then(|| "somebody".into());
        let identity = Identity::new(client_id.clone(), user_name.clone());
        let will = self.random.one_in(2).then(|| WillRecord {
            message: self.will_of(Arc::new(identity)),
            delay_seconds: self.random.below(100) as u32,
            expiry_seconds: self.random.one_in(2).then_some(7),
        });
        SessionRecord {
            number,
            client_id,
            user_name,
            facts: self.random.one_in(3).then(|| Arc::new(facts(number))),
            expiry_seconds: self.random.next() as u32,
            window: NonZeroU16::new(self.random.next() as u16),
            will,
        }
    }

    fn will_of(&mut self, publisher: Arc<Identity>) -> Message {
        let message = self.message_of(20);
        let attributes = Attributes { expires_at: None, ..message.attributes() };
        let (topic, payload) = (message.topic(), message.payload());
        let properties = message.properties();
        Message::new(MessageParts { topic, properties, payload, attributes, publisher })
    }

    fn group(&mut self, model: &Model) -> GroupRecord {
        let number = model.next_number.max(1);
        GroupRecord { number, name: "share".into(), filter: self.filter() }
    }

    fn enqueue(&mut self, model: &Model) -> Enqueue {
        let owner = self.owner(model);
        let mut model = model.clone();
        let next = model.queue_mut(owner).map_or(0, |queue| queue.next).max(1);
        let sequence = match self.random.below(20) {
            0 => next.saturating_sub(1).max(1),
            1 => next + 3,
            _ => next,
        };
        let message = self.message();
        let largest = NonZeroU32::new(268_435_455).unwrap();
        let (identifiers, group) = match (owner, self.random.below(3)) {
            (Owner::Group(number), _) => (Identifiers::None, Some(number)),
            (_, 0) => (Identifiers::None, None),
            (_, 1) => (Identifiers::One(largest), None),
            _ => (Identifiers::Many([NonZeroU32::MIN, largest].into()), Some(3)),
        };
        let delivery = StoredDelivery {
            qos: self.qos().min(message.attributes().qos),
            message,
            retain: self.random.one_in(2),
            identifiers,
            group,
        };
        let round = self.random.one_in(5).then(|| self.round());
        Enqueue { owner, sequence, delivery, round }
    }

    /// Returns a message, new or known.
    pub(super) fn message(&mut self) -> Message {
        if !self.shared.is_empty() && self.random.one_in(3) {
            return self.shared[self.random.below(self.shared.len())].clone();
        }
        let len = match self.random.below(30) {
            0 => 6000,
            1..=5 => self.random.below(1500),
            _ => self.random.below(200),
        };
        let message = self.message_of(len);
        self.share(&message);
        message
    }

    fn share(&mut self, message: &Message) {
        if self.shared.len() == 10 {
            self.shared.remove(self.random.below(10));
        }
        self.shared.push(message.clone());
    }

    /// Makes a new message with a payload of this length.
    pub(super) fn message_of(&mut self, len: usize) -> Message {
        self.messages += 1;
        let payload: Vec<u8> = (0..len).map(|_| self.random.next() as u8).collect();
        let user_name = self.random.one_in(2).then(|| "user".into());
        Message::new(MessageParts {
            topic: &format!("topic/{}", self.messages),
            properties: if self.random.one_in(2) { &[1, 1] } else { &[] },
            payload: &payload,
            attributes: Attributes {
                qos: self.qos(),
                retain: self.random.one_in(2),
                expires_at: self.random.one_in(3).then_some(Timestamp::from_millis(1 << 40)),
                publisher_session: None,
                durability: Durability::Interval,
            },
            publisher: Arc::new(Identity::new("publisher".into(), user_name)),
        })
    }
}

/// What authentication may find out about a user, different for each number.
pub(super) fn facts(number: u64) -> UserFacts {
    let rule = |allows| CredentialRule {
        allows,
        publish: !allows,
        subscribe: true,
        topics: format!("t/{number}/#").into(),
        qos: (number % 8) as u8,
        retain: [None, Some(true), Some(false)][(number % 3) as usize],
    };
    UserFacts {
        member: number.is_multiple_of(2).then(|| "jwt".into()),
        attributes: UserAttributes::from([
            ("a".into(), UserAttribute::Number(-(number as i64))),
            ("b".into(), UserAttribute::Text("text".into())),
            ("c".into(), UserAttribute::List(["x".into(), "y".into()].into())),
        ]),
        groups: ["g".into(), number.to_string().into()].into(),
        is_superuser: number.is_multiple_of(5),
        rules: [rule(true), rule(false)].into(),
        expires_at: number.is_multiple_of(3).then_some(number),
    }
}
