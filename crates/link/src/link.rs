//! One end of a link: which incarnation is at the other end, what begins and ends with it, and
//! which frame leaves next.

use std::collections::VecDeque;

use crate::frame::{Epoch, Frame, FrameError, Kind};
use crate::receiving::Receiving;
use crate::sending::Sending;

/// How much a link holds, and how often it sends again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most payloads in each direction that are not acknowledged, at least 1.
    pub window_payloads: usize,
    /// The most bytes of them; a larger payload goes alone.
    pub window_bytes: usize,
    /// The most bytes of a payload.
    pub payload_bytes_max: usize,
    /// How long to wait for an answer at first, in milliseconds; at least 1.
    pub resend_ms_min: u64,
    /// How long to wait at most, after many waits in vain.
    pub resend_ms_max: u64,
}

/// What has happened on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is an incarnation of the other process, to which payloads can be sent.
    Began(Epoch),
    /// This payload has come from it. When it is kept, the driver says so: [`Link::acknowledge`].
    Received {
        /// The incarnation from which it comes.
        epoch: Epoch,
        /// Its number, from 1.
        number: u64,
        /// What was sent.
        payload: Vec<u8>,
    },
    /// The other end has kept everything up to this number.
    Acknowledged(u64),
    /// The incarnation is gone, or has given up this one. Nothing comes from it any more.
    Ended {
        /// The incarnation.
        epoch: Epoch,
        /// What it has not acknowledged, with its numbers. It may have taken some of that.
        undelivered: Vec<(u64, Vec<u8>)>,
    },
}

/// Why a payload cannot be sent now; the payload comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No incarnation of the other process is known.
    NobodyThere(Vec<u8>),
    /// The window is full: [`Event::Acknowledged`] says when there may be room.
    NoRoom(Vec<u8>),
    /// It is larger than any payload may be.
    TooLarge(Vec<u8>),
}

/// One end of a link.
#[derive(Debug)]
pub struct Link {
    own: Epoch,
    settings: Settings,
    peer: Option<Peer>,
    /// The last incarnation that is gone: it and all before it are not listened to.
    gone: Option<Epoch>,
    events: VecDeque<Event>,
    /// What an incarnation that is not the peer is told, once.
    reply: Option<Frame<'static>>,
    /// When to look for an incarnation of the other process, while none is known.
    hello_due_ms: u64,
    hello_pause_ms: u64,
}

/// An incarnation of the other process, and what goes both ways.
#[derive(Debug)]
struct Peer {
    epoch: Epoch,
    sending: Sending,
    receiving: Receiving,
    /// Whether it waits to hear how far this end has come.
    owes_answer: bool,
}

impl Default for Settings {
    /// 1,024 payloads, 16 MiB in all and 1 MiB each, between 50 milliseconds and 2 seconds.
    fn default() -> Self {
        Self {
            window_payloads: 1024,
            window_bytes: 16 << 20,
            payload_bytes_max: 1 << 20,
            resend_ms_min: 50,
            resend_ms_max: 2_000,
        }
    }
}

impl Link {
    /// Makes the end of the incarnation `own`, which looks for the other one from `now_ms` on.
    pub fn new(own: Epoch, settings: Settings, now_ms: u64) -> Self {
        let (reply, hello_pause_ms) = (None, settings.resend_ms_min);
        Self {
            own,
            settings,
            peer: None,
            gone: None,
            events: VecDeque::new(),
            reply,
            hello_due_ms: now_ms,
            hello_pause_ms,
        }
    }

    /// The incarnation at the other end, if one is known and not gone.
    pub fn peer(&self) -> Option<Epoch> {
        self.peer.as_ref().map(|peer| peer.epoch)
    }

    /// How many payloads this end has sent that are not acknowledged, and their bytes.
    pub fn unacknowledged(&self) -> (usize, usize) {
        self.peer.as_ref().map_or((0, 0), |peer| peer.sending.unkept())
    }

    /// How many payloads of the other end are here and not acknowledged, and their bytes.
    pub fn held(&self) -> (usize, usize) {
        self.peer.as_ref().map_or((0, 0), |peer| peer.receiving.held())
    }

    /// Sends a payload to the incarnation at the other end; returns its number.
    ///
    /// # Errors
    ///
    /// Returns the payload if it cannot be sent now, or never.
    pub fn send(&mut self, payload: Vec<u8>) -> Result<u64, Refused> {
        if payload.len() > self.settings.payload_bytes_max {
            return Err(Refused::TooLarge(payload));
        }
        let Some(peer) = &mut self.peer else {
            return Err(Refused::NobodyThere(payload));
        };
        if !peer.sending.has_room(payload.len(), &self.settings) {
            return Err(Refused::NoRoom(payload));
        }
        Ok(peer.sending.push(payload))
    }

    /// Acknowledges all payloads of an incarnation up to this number: they are kept. Does nothing
    /// if it is gone.
    pub fn acknowledge(&mut self, epoch: Epoch, number: u64) {
        if let Some(peer) = self.peer.as_mut().filter(|peer| peer.epoch == epoch) {
            peer.owes_answer |= peer.receiving.keep(number);
        }
    }

    /// Gives up the incarnation at the other end: it is gone, whatever it says. It is told if it
    /// asks.
    pub fn end(&mut self, now_ms: u64) {
        if let Some(epoch) = self.end_peer(now_ms) {
            self.reply = Some(self.frame_to(epoch, Kind::End));
        }
    }

    /// Handles a frame that has come. The driver takes the events afterwards.
    ///
    /// # Errors
    ///
    /// Fails if it is no frame; the link goes on as if it had not come.
    pub fn handle_frame(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), FrameError> {
        let frame = Frame::decode(bytes)?;
        if let Kind::Payload { payload, .. } = frame.kind
            && payload.len() > self.settings.payload_bytes_max
        {
            return Err(FrameError::Invalid("its payload is too large"));
        }
        if Some(frame.from) <= self.gone {
            if Some(frame.from) == self.gone && frame.kind != Kind::End {
                self.reply = Some(self.frame_to(frame.from, Kind::End));
            }
            return Ok(());
        }
        let known = self.peer();
        if Some(frame.from) < known {
            return Ok(()); // it has been on its way for long
        }
        if frame.to == Some(self.own) && frame.kind == Kind::End {
            // It may be one that this end has never heard of.
            self.end_peer(now_ms);
            self.gone = Some(frame.from);
            return Ok(());
        }
        if Some(frame.from) != known {
            self.end_peer(now_ms);
            self.begin(frame.from);
        }
        self.handle_frame_of_peer(&frame, now_ms);
        Ok(())
    }

    fn handle_frame_of_peer(&mut self, frame: &Frame<'_>, now_ms: u64) {
        let Self { own, settings, peer: Some(peer), events, .. } = self else {
            return;
        };
        if frame.to != Some(*own) {
            // It speaks to nobody, or to an earlier incarnation.
            peer.owes_answer |= frame.kind != Kind::End;
            return;
        }
        let sending = &mut peer.sending;
        if let Some(number) = sending.note_progress(frame.taken, frame.kept, now_ms, settings) {
            events.push_back(Event::Acknowledged(number));
        }
        peer.owes_answer |= matches!(frame.kind, Kind::Hello | Kind::Payload { .. });
        if let Kind::Payload { number, payload } = frame.kind {
            let epoch = peer.epoch;
            let taken = peer.receiving.handle(number, payload, settings).into_iter();
            events.extend(taken.map(|(number, payload)| Event::Received {
                epoch,
                number,
                payload,
            }));
        }
    }

    fn begin(&mut self, epoch: Epoch) {
        let (sending, receiving) = (Sending::default(), Receiving::default());
        // It may not know yet that anybody is here.
        self.peer = Some(Peer { epoch, sending, receiving, owes_answer: true });
        self.events.push_back(Event::Began(epoch));
    }

    fn end_peer(&mut self, now_ms: u64) -> Option<Epoch> {
        let Peer { epoch, sending, .. } = self.peer.take()?;
        self.gone = self.gone.max(Some(epoch));
        self.events.push_back(Event::Ended { epoch, undelivered: sending.end() });
        (self.hello_due_ms, self.hello_pause_ms) = (now_ms, self.settings.resend_ms_min);
        Some(epoch)
    }

    fn frame_to(&self, to: Epoch, kind: Kind<'static>) -> Frame<'static> {
        Frame { from: self.own, to: Some(to), taken: 0, kept: 0, kind }
    }

    /// Returns the next thing that has happened, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns the next frame to be put on the transport now; `None` if there is no more before
    /// [`Link::next_deadline_ms`], or before something else is done.
    pub fn poll_transmit(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        if let Some(reply) = self.reply.take() {
            return Some(reply.encode());
        }
        let (own, settings) = (self.own, self.settings);
        let Some(peer) = &mut self.peer else {
            return self.look_for_peer(now_ms);
        };
        let to = Some(peer.epoch);
        let (taken, kept) = peer.receiving.progress();
        let hello = Frame { from: own, to, taken, kept, kind: Kind::Hello };
        if let Some((number, payload)) = peer.sending.next(now_ms, &settings) {
            peer.owes_answer = false;
            let kind = Kind::Payload { number, payload };
            return Some(Frame { kind, ..hello }.encode());
        }
        let asks = peer.sending.take_question();
        let answers = std::mem::take(&mut peer.owes_answer);
        match (asks, answers) {
            (true, _) => Some(hello.encode()),
            (false, true) => Some(Frame { kind: Kind::Acknowledgement, ..hello }.encode()),
            (false, false) => None,
        }
    }

    fn look_for_peer(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        if now_ms < self.hello_due_ms {
            return None;
        }
        self.hello_due_ms = now_ms.saturating_add(self.hello_pause_ms.max(1));
        self.hello_pause_ms =
            self.hello_pause_ms.saturating_mul(2).min(self.settings.resend_ms_max);
        let (from, kind) = (self.own, Kind::Hello);
        Some(Frame { from, to: None, taken: 0, kept: 0, kind }.encode())
    }

    /// Returns when [`Link::poll_transmit`] has to be called next, if nothing comes before; `None`
    /// if there is nothing to wait for.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        match &self.peer {
            Some(peer) => peer.sending.due_ms(),
            None => Some(self.hello_due_ms),
        }
    }
}
