//! The sending half of a Session's state: what waits for the Client and what is under way to it.

mod entering;
mod expiry;
mod moving;
mod stored;
mod streams;
mod window;

use std::collections::VecDeque;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};

use midge_codec::{PacketIdentifier, QoS};

use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::expiring::{Expiring, WasSent};
use crate::base::identity::ConnectionId;
use crate::base::limits::Limits;
use crate::boundary::store_records::Round;
use stored::StoredQueue;
use window::Window;

pub(crate) use entering::{Entering, Gathered};
pub(crate) use stored::stored_packet_identifier;
pub(crate) use streams::Way;
pub(crate) use window::{Extent, InFlight, Stage};

/// A message that has not been sent on this Network Connection yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) delivery: Delivery,
    /// Its name in the store; `None` if it is not kept there.
    pub(crate) sequence: Option<NonZeroU64>,
    /// Whether it was sent on an earlier Network Connection.
    pub(crate) was_sent: WasSent,
    /// The message may be sent once this round is confirmed.
    pub(crate) hold: Option<Round>,
    /// The generation of the stream that it goes on, if that is known (still).
    pub(crate) stream: Option<NonZeroU32>,
}

/// The queue and the in-flight window of one Session.
#[derive(Debug)]
pub(crate) struct Outgoing {
    in_flight: Window,
    queue: VecDeque<Waiting>,
    queue_bytes: usize,
    /// When messages in `queue` expire; not updated when messages leave the queue.
    expiring: Expiring,
    last_packet_id: u16,
    /// The largest Receive Maximum of earlier Network Connections on which something may have been
    /// sent that is not complete.
    earlier_window: Option<NonZeroU16>,
    extent: Extent,
    stored: StoredQueue,
}

impl Outgoing {
    /// Bytes that a message under way takes besides its topic, properties and payload.
    pub(crate) const IN_FLIGHT_BYTES: usize = 128;
    /// At most this many queued messages of a stored Session are kept in memory, too, while its
    /// Client is connected.
    const HEAD_MESSAGES: usize = 1024;
    /// How many messages of the queue are examined to find one whose stream has room.
    const LOOK_AHEAD: usize = 256;
    /// Like `HEAD_MESSAGES`, in bytes.
    const HEAD_BYTES: usize = 256 * 1024;
    /// Packet Identifiers up to this one belong to messages in the store: such a message has the
    /// same one each time it is sent, even after a restart of the broker. Messages of a stored
    /// Session that are not in the store have the higher ones, so that no Client mistakes one for
    /// the other.
    const STORED_PACKET_IDS: u16 = 32_767;
    /// The most messages that may be under way to a Session in the store: half of the Packet
    /// Identifiers that either kind has, so that a free one is found quickly.
    pub(crate) const STORED_WINDOW: u16 = 16_383;

    /// `is_stored` says whether the Session is in the store.
    pub(crate) fn new(extent: Extent, is_stored: bool) -> Self {
        Self {
            in_flight: Window::default(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            expiring: Expiring::default(),
            last_packet_id: 0,
            earlier_window: None,
            extent,
            stored: StoredQueue::new(is_stored),
        }
    }

    /// Begins a new Network Connection: everything under way has to be sent again, within the
    /// window of `extent`, which is the Client's Receive Maximum [MQTT-4.9.0-1] or less.
    pub(crate) fn resume(&mut self, extent: Extent) {
        self.extent = extent;
        self.in_flight.begin_again();
    }

    /// The largest Receive Maximum of earlier Network Connections on which something may have been
    /// sent that is not complete.
    pub(crate) fn earlier_window(&self) -> Option<NonZeroU16> {
        let is_idle =
            self.in_flight.len() == 0 && self.queue.is_empty() && self.stored.messages == 0;
        self.earlier_window.filter(|_| !is_idle)
    }

    /// Notes that as many messages as this may be under way to the Client, whatever it accepts
    /// later.
    pub(crate) fn note_window(&mut self, receive_maximum: Option<NonZeroU16>) {
        self.earlier_window = self.earlier_window().max(receive_maximum);
    }

    /// Reduces the window to that of `extent`; a smaller one stays as it is.
    pub(crate) fn narrow(&mut self, extent: Extent) {
        self.extent.messages = self.extent.messages.min(extent.messages);
    }

    /// Returns the next message to be sent again, if the window has room for it. It then counts as
    /// sent.
    pub(crate) fn next_unsent(&mut self) -> Option<&mut InFlight> {
        let sent = self.in_flight.len() - self.in_flight.unsent();
        if sent >= self.window() {
            return None;
        }
        self.in_flight.next_unsent()
    }

    /// Whether a message may be sent now without overtaking one of its stream that has waited
    /// longer. `sequence` is its name in the store, if it is kept there.
    #[inline]
    pub(crate) fn may_send_at_once(&self, sequence: Option<NonZeroU64>, way: Way) -> bool {
        let nothing_waits = self.queue.is_empty() && self.stored.messages == 0;
        way.has_output
            && (nothing_waits || way.has_others && self.only_others_wait(way.stream))
            && self.has_window()
            && self.has_packet_identifier(sequence)
            && (!way.has_others || self.has_share(way.stream.generation))
    }

    /// Whether a message that was never sent may be sent now; messages to be sent again go first.
    fn has_window(&self) -> bool {
        self.in_flight.unsent() == 0
            && self.in_flight.len() < self.window()
            && self.in_flight.bytes() < self.extent.bytes as usize
    }

    fn window(&self) -> usize {
        let messages = self.extent.messages;
        let most = if self.stored.is_used { Self::STORED_WINDOW } else { u16::MAX };
        usize::from(messages.min(most))
    }

    fn has_packet_identifier(&self, sequence: Option<NonZeroU64>) -> bool {
        sequence.is_none_or(|sequence| {
            self.may_be_sent(sequence.get()) && self.is_free(stored_packet_identifier(sequence))
        })
    }

    /// Checks whether one more message of `bytes` bytes may wait. The error says which limit
    /// forbids it.
    pub(crate) fn check_room(&self, bytes: usize, limits: &Limits) -> Result<(), DropReason> {
        let (waiting, waiting_bytes) = self.queued();
        if waiting >= limits.queue_messages_max as usize {
            return Err(DropReason::QueueFull);
        }
        if waiting_bytes + bytes > limits.queue_bytes_max as usize && waiting > 0 {
            return Err(DropReason::QueueBytes);
        }
        Ok(())
    }

    /// Gives out the sequence of the next message that is kept in the store.
    pub(crate) fn next_sequence(&mut self) -> NonZeroU64 {
        let skipped = u64::from(std::mem::take(&mut self.stored.skipped));
        let sequence = NonZeroU64::MIN.saturating_add(self.stored.last + skipped);
        self.stored.last = sequence.get();
        sequence
    }

    /// Puts a message at the end of the queue. A message that is in the store stays there only, if
    /// no Client is connected, if earlier messages are in the store only, or if enough of the queue
    /// is in memory already.
    pub(crate) fn enqueue(&mut self, waiting: Waiting, is_connected: bool) {
        let is_head = is_connected
            && self.stored.messages == 0
            && self.queue.len() < Self::HEAD_MESSAGES
            && self.queue_bytes < Self::HEAD_BYTES;
        if let Some(sequence) = waiting.sequence
            && !is_head
        {
            return self.stored.count(sequence, &waiting.delivery);
        }
        self.queue_bytes += waiting.delivery.message.size();
        self.expiring.add(waiting.delivery.message.attributes().expires_at);
        self.queue.push_back(waiting);
    }

    /// Takes the next message from the queue, if the window has room for it and it may be sent.
    pub(crate) fn dequeue(&mut self, may_send: impl Fn(Round) -> bool) -> Option<Waiting> {
        let front = self.queue.front()?;
        let may_send = front.hold.is_none_or(may_send);
        if !may_send || !self.has_window() || !self.has_packet_identifier(front.sequence) {
            return None;
        }
        let waiting = self.queue.pop_front()?;
        self.queue_bytes -= waiting.delivery.message.size();
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        Some(waiting)
    }

    /// Puts a message under way and returns its Packet Identifier [MQTT-2.2.1-4].
    pub(crate) fn begin(
        &mut self,
        delivery: Delivery,
        sequence: Option<NonZeroU64>,
        stream: ConnectionId,
    ) -> PacketIdentifier {
        let packet_id = match sequence {
            None => self.free_packet_identifier(),
            Some(sequence) => stored_packet_identifier(sequence),
        };
        self.stored.last_sent = self.stored.last_sent.max(sequence.map_or(0, NonZeroU64::get));
        let exactly_once = delivery.qos == QoS::ExactlyOnce;
        let stage = if exactly_once { Stage::PubRec } else { Stage::PubAck };
        let bytes = (delivery.message.size() + Self::IN_FLIGHT_BYTES) as u32;
        let (delivery, stream) = (Some(delivery), Some(stream.generation));
        self.in_flight.push(InFlight { packet_id, stage, stream, sequence, bytes, delivery });
        packet_id
    }

    /// The message under way with this Packet Identifier.
    pub(crate) fn find(&mut self, packet_id: PacketIdentifier) -> Option<&mut InFlight> {
        self.in_flight.find(packet_id)
    }

    /// Returns what the Client has to send next for the message with this Packet Identifier, if it
    /// was sent on this Network Connection.
    pub(crate) fn expected(&self, packet_id: PacketIdentifier) -> Option<Stage> {
        self.in_flight.find_sent(packet_id).map(|entry| entry.stage)
    }

    /// Ends the message under way with this Packet Identifier, if it is at this stage.
    pub(crate) fn finish(&mut self, packet_id: PacketIdentifier, stage: Stage) -> Option<InFlight> {
        self.in_flight.take_if(packet_id, |entry| entry.stage == stage)
    }

    /// Takes out everything in memory that the Client has not taken over, in the order of delivery,
    /// each message with its name in the store. A QoS 2 message that was sent to one member of a
    /// group goes to no other [MQTT-4.8.2-5].
    ///
    /// Messages that would go to other members, but whose round is not confirmed, are left to the
    /// store and fetched when it is confirmed. The sequences of those that leave now, in `round`,
    /// are noted so that this fetch passes them over.
    ///
    /// Until the store knows that what leaves has left, it has to know what of it was sent.
    pub(crate) fn take_undelivered(
        &mut self,
        round: Round,
        is_confirmed: impl Fn(Round) -> bool,
    ) -> Vec<(Option<NonZeroU64>, Delivery)> {
        self.note_all_sent();
        self.leave_unconfirmed_of_groups(round, is_confirmed);
        self.queue_bytes = 0;
        let under_way = self.in_flight.take_all();
        let under_way =
            under_way.filter_map(|(entry, _)| Some((entry.sequence, entry.delivery?, true)));
        let queue = self.queue.drain(..);
        let queue = queue.map(|it| (it.sequence, it.delivery, it.was_sent.may_be()));
        let all = under_way.chain(queue).map(|(sequence, delivery, was_sent)| {
            let is_bound = was_sent && delivery.qos == QoS::ExactlyOnce;
            let group = delivery.group.filter(|_| !is_bound);
            (sequence, Delivery { group, ..delivery })
        });
        all.collect()
    }

    /// Notes of everything in memory whether it may have been sent.
    fn note_all_sent(&mut self) {
        let Self { in_flight, queue, stored, .. } = self;
        let under_way = in_flight.iter().filter(|it| it.delivery.is_some());
        let under_way = under_way.filter_map(|entry| entry.sequence);
        under_way.for_each(|sequence| stored.sent.note(sequence.get()));
        for waiting in queue {
            if let Some(sequence) = waiting.sequence {
                stored.sent.note_unsent(sequence.get(), waiting.was_sent);
            }
        }
    }

    fn leave_unconfirmed_of_groups(&mut self, round: Round, is_confirmed: impl Fn(Round) -> bool) {
        let must_stay = |waiting: &Waiting| {
            let is_of_group = waiting.sequence.is_some() && waiting.delivery.group.is_some();
            is_of_group && waiting.hold.is_some_and(|hold| !is_confirmed(hold))
        };
        if !self.queue.iter().any(must_stay) {
            return;
        }
        let (staying, leaving) = self.queue.drain(..).partition::<Vec<_>, _>(must_stay);
        self.queue = leaving.into();
        for waiting in staying {
            if let Some(sequence) = waiting.sequence {
                self.stored.count(sequence, &waiting.delivery);
            }
        }
        let under_way = self.in_flight.iter().map(|entry| entry.sequence);
        let sequences = under_way.chain(self.queue.iter().map(|waiting| waiting.sequence));
        let sequences = sequences.flatten().map(NonZeroU64::get);
        self.stored.given_back.extend(sequences.map(|sequence| (sequence, round)));
    }

    /// Takes out the messages of shared subscriptions that wait in memory (not those under way), in
    /// order, each with its name in the store. The store learns at the end of `round` that they
    /// have left.
    pub(crate) fn take_queued_of_groups(
        &mut self,
        round: Round,
        is_confirmed: impl Fn(Round) -> bool,
    ) -> Vec<(Option<NonZeroU64>, Delivery)> {
        // A message that may have been sent goes to nobody else. One whose round is not confirmed
        // may be void after a crash: it stays where it counts with its round.
        let is_movable = |waiting: &Waiting| {
            let may_move = !waiting.was_sent.may_be() && waiting.hold.is_none_or(&is_confirmed);
            waiting.delivery.group.is_some() && may_move
        };
        let (shared, own) = self.queue.drain(..).partition::<Vec<_>, _>(is_movable);
        self.queue = own.into();
        self.queue_bytes = self.queue.iter().map(|waiting| waiting.delivery.message.size()).sum();
        let given_back = &mut self.stored.given_back;
        given_back.retain(|_, round| !is_confirmed(*round));
        let sequences = shared.iter().filter_map(|waiting| waiting.sequence);
        given_back.extend(sequences.map(|sequence| (sequence.get(), round)));
        shared.into_iter().map(|waiting| (waiting.sequence, waiting.delivery)).collect()
    }

    /// Messages and bytes that wait, in memory and in the store.
    pub(crate) fn queued(&self) -> (usize, usize) {
        (self.queue.len() + self.stored.messages, self.queue_bytes + self.stored.bytes)
    }

    /// Bytes that wait in memory or are under way.
    pub(crate) fn bytes_in_memory(&self) -> usize {
        self.queue_bytes + self.in_flight.bytes()
    }

    /// Messages that wait or are under way, and that the store does not keep.
    pub(crate) fn volatile_messages(&self) -> usize {
        let is_volatile = |entry: &&InFlight| entry.sequence.is_none() && entry.delivery.is_some();
        let under_way = self.in_flight.iter().filter(is_volatile).count();
        under_way + self.queue.iter().filter(|waiting| waiting.sequence.is_none()).count()
    }

    pub(crate) fn in_flight_len(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns a Packet Identifier that is not in use. There always is one: fewer messages are
    /// under way than there are identifiers. It is found quickly: one in use is passed over only
    /// once in a cycle through all identifiers.
    fn free_packet_identifier(&mut self) -> PacketIdentifier {
        loop {
            self.last_packet_id = self.last_packet_id.wrapping_add(1);
            if self.stored.is_used {
                self.last_packet_id = self.last_packet_id.max(Self::STORED_PACKET_IDS + 1);
            }
            if let Some(packet_id) = PacketIdentifier::new(self.last_packet_id)
                && self.is_free(packet_id)
            {
                return packet_id;
            }
        }
    }

    fn is_free(&self, packet_id: PacketIdentifier) -> bool {
        !self.in_flight.contains(packet_id)
    }
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU16, NonZeroU64};
    use std::sync::Arc;

    use midge_codec::QoS;

    use super::{Delivery, Extent, Outgoing, Stage, Waiting, WasSent, Way};
    use crate::base::drop_reason::DropReason;
    use crate::base::durability::Durability;
    use crate::base::identifiers::Identifiers;
    use crate::base::identity::{ConnectionId, Identity};
    use crate::base::limits::Limits;
    use crate::base::message::{Attributes, Publication};
    use crate::boundary::store_records::RecoveredQueue;

    const STREAM: ConnectionId = ConnectionId { slot: 0, generation: std::num::NonZeroU32::MIN };
    const WAY: Way = Way { stream: STREAM, has_others: false, has_output: true };

    fn extent(messages: u16) -> Extent {
        Extent { messages, bytes: u32::MAX }
    }

    fn delivery(payload: &[u8]) -> Delivery {
        let qos = QoS::AtLeastOnce;
        let attributes = Attributes {
            qos,
            retain: false,
            expires_at: None,
            publisher_session: None,
            durability: Durability::Memory,
        };
        let publisher = Arc::new(Identity::new("p".into(), None));
        let message = Publication::new("t", &[], payload, attributes, &publisher).share();
        Delivery { message, qos, retain: false, identifiers: Identifiers::None, group: None }
    }

    fn waiting(delivery: Delivery, sequence: Option<NonZeroU64>) -> Waiting {
        Waiting { delivery, sequence, was_sent: WasSent::No, hold: None, stream: None }
    }

    #[test]
    fn packet_identifiers_in_flight_are_never_reused() {
        let mut outgoing = Outgoing::new(extent(3), false);
        let first = outgoing.begin(delivery(b"stuck"), None, STREAM);
        for _ in 0..70_000 {
            let next = outgoing.begin(delivery(b"x"), None, STREAM);
            assert_ne!(next, first);
            assert!(outgoing.finish(next, Stage::PubAck).is_some());
        }
    }

    #[test]
    fn the_queue_is_bounded_by_messages_and_bytes() {
        let limits = Limits { queue_messages_max: 3, queue_bytes_max: 10, ..Limits::default() };
        let mut outgoing = Outgoing::new(extent(1), false);
        let put = |outgoing: &mut Outgoing, payload: &[u8]| {
            let delivery = delivery(payload);
            outgoing.check_room(delivery.message.size(), &limits)?;
            outgoing.enqueue(waiting(delivery, None), true);
            Ok(())
        };
        put(&mut outgoing, b"1234").unwrap();
        put(&mut outgoing, b"1").unwrap();
        assert_eq!(put(&mut outgoing, b"12345"), Err(DropReason::QueueBytes));
        put(&mut outgoing, b"1").unwrap();
        assert_eq!(put(&mut outgoing, b""), Err(DropReason::QueueFull));
        assert_eq!(outgoing.queued(), (3, 9));
        outgoing.dequeue(|_| true).unwrap();
        assert_eq!(outgoing.queued(), (2, 4));
    }

    #[test]
    fn what_is_in_the_store_leaves_memory_with_the_connection_and_keeps_its_identifier() {
        let mut outgoing = Outgoing::new(extent(2), true);
        for payload in [b"1", b"2", b"3"] {
            let sequence = outgoing.next_sequence();
            outgoing.enqueue(waiting(delivery(payload), Some(sequence)), true);
        }
        let Waiting { delivery: first, sequence, .. } = outgoing.dequeue(|_| true).unwrap();
        let packet_id = outgoing.begin(first, sequence, STREAM);
        outgoing.leave_to_store();
        assert_eq!((outgoing.queued(), outgoing.in_flight_len()), ((3, 6), 0));
        assert_eq!(outgoing.sent().to_store(), 2);
        outgoing.resume(extent(2));
        assert_eq!(outgoing.begin_fetch(7), Some(1));
        assert_eq!(outgoing.begin_fetch(8), None, "one question at a time");
        assert!(outgoing.end_fetch(7));
        let fetched = (1..=3).map(|sequence| (sequence, delivery(b"x"), None)).collect();
        outgoing.note_fetched(4, fetched, None, crate::base::time::Timestamp::default());
        assert_eq!(outgoing.queued().0, 3);
        let again = outgoing.dequeue(|_| true).unwrap();
        assert_eq!(again.was_sent, WasSent::Yes);
        assert_eq!(outgoing.begin(again.delivery, again.sequence, STREAM), packet_id);
        assert_eq!(outgoing.dequeue(|_| true).unwrap().was_sent, WasSent::No);
    }

    /// Fetches QoS 2 messages with sequences from 1 on; returns what is known of each.
    fn fetched(outgoing: &mut Outgoing, messages: u64) -> Vec<WasSent> {
        let exactly_once = || Delivery { qos: QoS::ExactlyOnce, ..delivery(b"x") };
        let all = (1..=messages).map(|sequence| (sequence, exactly_once(), None)).collect();
        outgoing.note_fetched(messages + 1, all, None, crate::base::time::Timestamp::default());
        outgoing.queue.iter().map(|waiting| waiting.was_sent).collect()
    }

    #[test]
    fn the_window_that_a_client_had_counts_and_not_the_limit_of_today() {
        use WasSent::{No, Perhaps};
        let known = (NonZeroU16::new(3), [Perhaps, Perhaps, Perhaps, No]);
        for (window, expected) in [known, (None, [Perhaps, No, No, No])] {
            let mut outgoing = Outgoing::new(extent(1), true);
            let queue = RecoveredQueue {
                first: 1,
                next: 5,
                messages: 4,
                sent_before: u64::MAX,
                ..<_>::default()
            };
            outgoing.restore(&queue, true, window, 1, crate::base::time::Timestamp::default());
            assert_eq!(fetched(&mut outgoing, 4), expected);
            outgoing.leave_to_store();
            assert_eq!(fetched(&mut outgoing, 4), expected, "a connection makes no difference");
        }
    }

    #[test]
    fn a_message_that_others_overtake_on_their_streams_was_not_sent() {
        let mut outgoing = Outgoing::new(extent(9), true);
        for payload in [b"1", b"2", b"3"] {
            let sequence = outgoing.next_sequence();
            outgoing.enqueue(waiting(delivery(payload), Some(sequence)), true);
        }
        let overtaking = outgoing.queue.remove(1).unwrap();
        outgoing.begin(overtaking.delivery, overtaking.sequence, STREAM);
        for _ in 0..2 {
            outgoing.leave_to_store();
            let known = [WasSent::No, WasSent::Yes, WasSent::No];
            assert_eq!(fetched(&mut outgoing, 3), known);
        }
        let overtaken = outgoing.queue.pop_front().unwrap();
        outgoing.begin(overtaken.delivery, overtaken.sequence, STREAM);
        outgoing.leave_to_store();
        assert_eq!(fetched(&mut outgoing, 3), [WasSent::Yes, WasSent::Yes, WasSent::No]);
    }

    #[test]
    fn packet_identifiers_of_messages_that_a_power_cut_took_are_not_used_again_soon() {
        let next_ids = |sent_before, now| {
            let mut outgoing = Outgoing::new(extent(2), true);
            let queue = RecoveredQueue { first: 5, next: 5, sent_before, ..<_>::default() };
            let was_connected = sent_before == u64::MAX;
            let now = crate::base::time::Timestamp::from_millis(now);
            outgoing.restore(&queue, was_connected, NonZeroU16::new(2), 2, now);
            assert_eq!(outgoing.last_sequence(), 4, "what the store has ends there");
            let (sequence, delivery) = (outgoing.next_sequence(), delivery(b"x"));
            let stored = outgoing.begin(delivery.clone(), Some(sequence), STREAM).get();
            (stored, outgoing.begin(delivery, None, STREAM).get())
        };
        let far = Outgoing::STORED_PACKET_IDS / 4;
        let (stored, other) = next_ids(u64::MAX, 1_000_000);
        assert!((5 + far..=5 + 2 * far).contains(&stored), "{stored}");
        assert!(other > Outgoing::STORED_PACKET_IDS + far, "{other}");
        let again = next_ids(u64::MAX, 1_000_001);
        assert!(stored != again.0 && other != again.1, "nor at the next start");
        assert_eq!(next_ids(5, 1_000_000).0, 5, "everything that was sent is known");
    }

    #[test]
    fn an_answer_for_a_connection_that_is_gone_does_not_count() {
        let mut outgoing = Outgoing::new(extent(2), true);
        let sequence = outgoing.next_sequence();
        outgoing.enqueue(waiting(delivery(b"1"), Some(sequence)), false);
        assert_eq!(outgoing.begin_fetch(7), Some(1));
        outgoing.leave_to_store();
        outgoing.resume(extent(2));
        assert_eq!(outgoing.begin_fetch(8), Some(1));
        assert!(!outgoing.end_fetch(7));
        assert!(outgoing.end_fetch(8));
    }

    #[test]
    fn what_was_under_way_goes_first_and_within_the_new_window() {
        let mut outgoing = Outgoing::new(extent(3), false);
        let ids: Vec<_> = (0..3).map(|_| outgoing.begin(delivery(b"x"), None, STREAM)).collect();
        outgoing.resume(extent(1));
        assert!(!outgoing.may_send_at_once(None, WAY));
        assert_eq!(outgoing.next_unsent().unwrap().packet_id, ids[0]);
        assert!(outgoing.next_unsent().is_none(), "the window is full");
        outgoing.finish(ids[1], Stage::PubAck).unwrap(); // late: it was not sent again yet
        assert!(outgoing.next_unsent().is_none());
        outgoing.finish(ids[0], Stage::PubAck).unwrap();
        assert_eq!(outgoing.next_unsent().unwrap().packet_id, ids[2]);
        assert!(!outgoing.may_send_at_once(None, WAY));
        outgoing.finish(ids[2], Stage::PubAck).unwrap();
        assert!(outgoing.may_send_at_once(None, WAY));
    }

    #[test]
    fn an_acknowledgement_of_the_wrong_kind_ends_nothing() {
        let mut outgoing = Outgoing::new(extent(1), false);
        let packet_id = outgoing.begin(delivery(b"x"), None, STREAM);
        assert!(outgoing.finish(packet_id, Stage::PubComp).is_none());
        assert!(outgoing.finish(packet_id, Stage::PubAck).is_some());
        assert!(outgoing.finish(packet_id, Stage::PubAck).is_none());
    }
}
