//! Makes a store from the lines of an export. Every line is checked before it counts, by itself and
//! against the lines before it: nothing is accepted that no broker could have written. Numbers and
//! sequences stay as they are. At the end, either all of it is in the directory, or nothing.

use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::Arc;
use std::{error, fmt};

use hashbrown::HashMap;
use midge_codec::{PacketIdentifier, QoS};
use midge_core::{
    Attributes, Durability, Enqueue, GroupRecord, Identifiers, Identity, Kept, Message,
    MessageParts, Owner, SessionRecord, StoreOp, StoredDelivery, Timestamp, WillRecord, counted,
    storable,
};

use super::check::name_of;
use super::claims::Claims;
use super::line::{
    self, AwaitingRelease, CORRECT, Delayed, Group, Header, Line, NumberedMessage, Queued,
    Retained, Session, Subscription, Taken, VERSION, Will,
};
use super::progress::{Counter, Progress};
use super::target::{Target, TargetError};
use super::user::User;
use crate::disk::Disk;
use crate::engine::{Engine, Options};
use crate::error::{OpenError, StoreError};
use crate::location::Location;
use crate::queue::Queue;
use crate::record::detached::NOT_ENDED;
use crate::record::{decode_message, finished};

/// The longest line: the largest message of MQTT in base64, with room for the rest.
const LINE_BYTES_MAX: u64 = 1 << 29;
/// How many lines make one commit.
const COMMIT_LINES: u64 = 512;

/// What was imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines that were read.
    pub lines: u64,
    /// Sessions.
    pub sessions: u64,
    /// Shared subscriptions.
    pub groups: u64,
    /// Messages that wait for an owner.
    pub queued_messages: u64,
    /// Retained and delayed messages.
    pub kept_messages: u64,
}

/// Why nothing was imported.
#[derive(Debug)]
pub enum ImportError {
    /// The directory cannot be filled.
    Target(TargetError),
    /// A line is not what it should be.
    Line {
        /// Its number, from 1.
        number: u64,
        /// What is wrong.
        reason: String,
    },
    /// The export cannot be read.
    Read(io::Error),
    /// The store cannot be opened.
    Open(OpenError),
    /// The store cannot be written.
    Store(StoreError),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(error) => error.fmt(f),
            Self::Line { number, reason } => {
                write!(f, "line {number}: {reason}; nothing was imported")
            }
            Self::Read(error) => {
                write!(f, "cannot read the export: {error}; nothing was imported")
            }
            Self::Open(error) => error.fmt(f),
            Self::Store(error) => write!(f, "{error}; nothing was imported"),
        }
    }
}

impl error::Error for ImportError {}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Imports an export into a directory that is empty or does not exist.
///
/// # Errors
///
/// Nothing was imported then, and the directory is as it was.
pub fn import(
    directory: &Path,
    input: &mut dyn BufRead,
    options: Options,
    now: Timestamp,
    tell: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    let target = Target::begin(directory).map_err(ImportError::Target)?;
    let failed = |error| ImportError::Open(OpenError::io(&directory.display().to_string(), error));
    let disk = target.disk().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let imported = import_into(disk, input, options, now, tell)?;
    target.complete().map_err(failed)?;
    Ok(imported)
}

/// Imports an export into an empty disk.
///
/// # Errors
///
/// The disk then contains a part of the export, or nothing.
pub fn import_into(
    disk: Arc<dyn Disk>,
    input: &mut dyn BufRead,
    options: Options,
    now: Timestamp,
    tell: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    let opened = Engine::open(disk, options, now).map_err(ImportError::Open)?;
    let mut importer = Importer::new(opened.engine);
    let mut counter = Counter::new(tell, "importing lines", None, 1 << 10);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let number = importer.imported.lines + 1;
        let at_line = |reason| ImportError::Line { number, reason };
        let read = input.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        if read.map_err(ImportError::Read)? == 0 {
            break;
        }
        if bytes.pop_if(|last| *last == b'\n').is_none() && bytes.len() as u64 == LINE_BYTES_MAX {
            return Err(at_line(format!("it is longer than {LINE_BYTES_MAX} bytes")));
        }
        let line = parse(&bytes).map_err(at_line)?;
        importer.line(line).map_err(at_line)?;
        counter.add(1);
        if number.is_multiple_of(COMMIT_LINES) {
            importer.commit()?;
        }
    }
    let number = importer.imported.lines;
    if !importer.is_ended {
        let reason = match number {
            0 => "the export is empty",
            _ => "the export ends behind this line, without its last one: it is not complete",
        };
        return Err(ImportError::Line { number: number.max(1), reason: reason.to_owned() });
    }
    importer.finish()
}

fn parse(bytes: &[u8]) -> Result<Line, String> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".to_owned());
    }
    if bytes.starts_with("\u{feff}".as_bytes()) {
        return Err("it begins with a byte order mark: remove that (EF BB BF)".to_owned());
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => format!("it is no line of an export: {error}"),
        _ => format!("it is no JSON: {error}"),
    })
}

/// A message that lines refer to by its number.
struct Named {
    number: u64,
    message: Message,
    is_used: bool,
}

struct Importer {
    engine: Engine,
    imported: Imported,
    next_number: Option<u64>,
    claims: Claims,
    is_ended: bool,
    /// Where the messages are, by their numbers from 1.
    places: Vec<Option<Location>>,
    /// The message that was used last, or waits to be used.
    last: Option<Named>,
    /// The sequences that the next messages of owners get.
    next_sequences: HashMap<Owner, u64, foldhash::fast::FixedState>,
    /// Stands in for messages whose content nobody needs.
    blank: Message,
}

impl Importer {
    fn new(engine: Engine) -> Self {
        let attributes = Attributes {
            qos: QoS::AtMostOnce,
            retain: false,
            expires_at: None,
            publisher_session: None,
            durability: Durability::Fsync,
        };
        let publisher = Arc::new(Identity::new("".into(), None));
        let parts =
            MessageParts { topic: "", properties: &[], payload: &[], attributes, publisher };
        Self {
            engine,
            imported: Imported::default(),
            next_number: None,
            claims: Claims::default(),
            is_ended: false,
            places: Vec::new(),
            last: None,
            next_sequences: HashMap::default(),
            blank: Message::new(parts),
        }
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.engine.writer.end_commit();
        self.engine.write()
    }

    fn line(&mut self, line: Line) -> Result<(), String> {
        if self.is_ended {
            return Err("something follows on the last line".to_owned());
        }
        let waits = self.last.as_ref().is_some_and(|named| !named.is_used);
        if waits && !matches!(line, Line::Queued(_) | Line::Retained(_) | Line::Delayed(_)) {
            return Err("the line must refer to the message before it".to_owned());
        }
        self.imported.lines += 1;
        if let Line::Header(header) = line {
            return self.header(&header);
        }
        if self.next_number.is_none() {
            return Err("an export begins with a line of the kind \"midge-export\"".to_owned());
        }
        match line {
            Line::Header(_) => Ok(()),
            Line::Group(group) => self.group(group),
            Line::Session(session) => self.session(*session),
            Line::Subscription(subscription) => self.subscription(subscription),
            Line::AwaitingRelease(awaiting) => self.awaiting_release(&awaiting),
            Line::Message(message) => self.message(&message),
            Line::Queued(queued) => self.queued(queued),
            Line::Taken(taken) => self.taken(&taken),
            Line::Retained(retained) => self.retained(&retained),
            Line::Delayed(delayed) => self.delayed(&delayed),
            Line::End(end) => {
                self.is_ended = true;
                let lines = self.imported.lines;
                if end.lines == lines {
                    return Ok(());
                }
                Err(format!("the export had {} and has {lines}", counted(end.lines, "line")))
            }
        }
    }

    fn header(&mut self, header: &Header) -> Result<(), String> {
        if header.version != VERSION {
            return Err(format!(
                "the export is of version {}, and this is version {VERSION} of the format: use a \
                 newer midge",
                header.version
            ));
        }
        if header.next_number > storable::NUMBER_MAX {
            return Err(format!("\"next_number\" is above {}: correct it", storable::NUMBER_MAX));
        }
        match self.next_number.replace(header.next_number) {
            None => Ok(()),
            Some(_) => Err("a second export begins here".to_owned()),
        }
    }

    /// Checks that a Session, a shared subscription or a kept message may have this number.
    fn check_number(&mut self, number: u64) -> Result<(), String> {
        if number == 0 {
            return Err("\"number\" is 0, and numbers begin at 1: correct it".to_owned());
        }
        if self.next_number.is_none_or(|next| number >= next) {
            return Err(format!(
                "the number {number} is not below \"next_number\" of the first line"
            ));
        }
        self.claims.number(number, self.imported.lines)
    }

    fn check_new(&mut self, owner: Owner, number: u64, next_sequence: u64) -> Result<(), String> {
        if self.next_sequences.insert(owner, next_sequence).is_some() {
            return Err(format!("{} comes twice", name_of(owner)));
        }
        self.check_number(number)?;
        if next_sequence > storable::NUMBER_MAX {
            return Err(format!("\"next_sequence\" is above {}: correct it", storable::NUMBER_MAX));
        }
        Ok(())
    }

    fn check_known(&self, owner: Owner) -> Result<u64, String> {
        let known = self.next_sequences.get(&owner).copied();
        known.ok_or_else(|| format!("there is no line about {} before", name_of(owner)))
    }

    fn group(&mut self, group: Group) -> Result<(), String> {
        let Group { number, name, filter, next_sequence, supersedes } = group;
        self.check_new(Owner::Group(number), number, next_sequence)?;
        line::check_text("name", &name)?;
        line::check_text("filter", &filter)?;
        storable::check_group(&name, &filter)
            .map_err(|why| format!("\"filter\" {filter:?} of {name:?}: {why}; {CORRECT}"))?;
        self.claims.group(&name, &filter, number, supersedes, self.imported.lines)?;
        self.imported.groups += 1;
        self.engine.apply_op(&StoreOp::Group(GroupRecord { number, name, filter }));
        Ok(())
    }

    fn session(&mut self, session: Session) -> Result<(), String> {
        let Session { number, client_id, user_name, expiry_seconds, window, supersedes, .. } =
            session;
        self.check_new(Owner::Session(number), number, session.next_sequence)?;
        line::check_text("client_id", &client_id)?;
        line::check_text("user_name", user_name.as_deref().unwrap_or_default())?;
        storable::check_client_id(&client_id)
            .map_err(|why| format!("\"client_id\" {client_id:?} {why}; {CORRECT}"))?;
        self.claims.client(&client_id, number, supersedes, self.imported.lines)?;
        if expiry_seconds == 0 {
            self.claims.note_ended(number);
        }
        let identity = Identity::new(client_id, user_name);
        let will = session.will.map(|will| will_of(&will, &identity)).transpose()?;
        let Identity { client_id, user_name, .. } = identity;
        let facts = session.user.map(User::into_facts).transpose()?.map(Arc::new);
        let record =
            SessionRecord { number, client_id, user_name, facts, expiry_seconds, window, will };
        self.engine.apply_op(&StoreOp::Session(Box::new(record)));
        match (session.detached, session.sent_ahead) {
            (Some(_), Some(_)) => {
                return Err("it has both \"detached\" and \"sent_ahead\": leave one out".to_owned());
            }
            (Some(detached), None) => self.engine.apply_op(&StoreOp::Detached {
                session: number,
                at: moment("at_ms", detached.at_ms)?,
                sent_before: detached.sent_before.unwrap_or(u64::MAX),
            }),
            (None, Some(sent_before)) => {
                self.engine.apply_op(&StoreOp::SentAhead { session: number, sent_before });
            }
            (None, None) => {}
        }
        self.imported.sessions += 1;
        Ok(())
    }

    fn subscription(&mut self, subscription: Subscription) -> Result<(), String> {
        let session = subscription.session;
        self.check_known(Owner::Session(session))?;
        let subscription = subscription.into_record()?;
        self.claims.filter(session, &subscription.filter, self.imported.lines)?;
        self.engine.apply_op(&StoreOp::Subscribed { session, subscription });
        Ok(())
    }

    fn awaiting_release(&mut self, awaiting: &AwaitingRelease) -> Result<(), String> {
        let AwaitingRelease { session, packet_id } = *awaiting;
        self.check_known(Owner::Session(session))?;
        let packet_id =
            PacketIdentifier::new(packet_id).ok_or("\"packet_id\" must be 1 to 65535")?;
        let entry = self.engine.index.owners.get(&Owner::Session(session));
        if entry.is_some_and(|entry| entry.awaiting_release.contains(&packet_id)) {
            return Err(format!("Packet Identifier {packet_id} comes twice"));
        }
        self.engine.apply_op(&StoreOp::AwaitRelease { session, packet_id });
        Ok(())
    }

    fn message(&mut self, message: &NumberedMessage) -> Result<(), String> {
        let expected = self.places.len() as u64 + 1;
        if message.number != expected {
            let number = message.number;
            return Err(format!("the message has the number {number} instead of {expected}"));
        }
        let message = message.content.to_message()?;
        self.places.push(None);
        self.last = Some(Named { number: expected, message, is_used: false });
        Ok(())
    }

    /// Returns the message with this number and notes that it is used.
    fn named(&mut self, number: u64) -> Result<Message, String> {
        let known = self.last.as_mut().filter(|named| named.number == number);
        if let Some(named) = known {
            named.is_used = true;
            return Ok(named.message.clone());
        }
        if self.last.as_ref().is_some_and(|named| !named.is_used) {
            return Err("the line must refer to the message before it".to_owned());
        }
        let index = number.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        let place = index.and_then(|index| self.places.get(index)).copied().flatten();
        let place =
            place.ok_or_else(|| format!("there is no message {number} before this line"))?;
        let Engine { writer, buffers, restorer, .. } = &mut self.engine;
        let tag = writer.journal.read(place, &mut buffers.message);
        let tag = tag.map_err(|damage| damage.to_string())?;
        let stored = decode_message(tag, &buffers.message).map_err(|bad| bad.0.to_owned())?;
        let message = restorer.restore(&stored, Some(place));
        self.last = Some(Named { number, message: message.clone(), is_used: true });
        Ok(message)
    }

    /// Notes where a message stands after it was used.
    fn note_place(&mut self, number: u64, message: &Message) {
        if let Some(place) = self.places.get_mut(number as usize - 1) {
            *place = message.stored_at().get().and_then(|place| Location::from_u64(place.get()));
        }
    }

    fn check_sequence(&self, owner: Owner, sequence: u64) -> Result<(), String> {
        if sequence == 0 {
            return Err("\"sequence\" is 0, and sequences begin at 1: correct it".to_owned());
        }
        if sequence >= self.check_known(owner)? {
            return Err(format!(
                "the sequence {sequence} is not below \"next_sequence\" of {}",
                name_of(owner)
            ));
        }
        let queue = self.engine.index.owners.get(&owner).and_then(|entry| entry.queue.as_deref());
        if queue.is_some_and(|queue| sequence < queue.next()) {
            return Err(format!("the sequences of {} do not grow", name_of(owner)));
        }
        Ok(())
    }

    fn queued(&mut self, queued: Queued) -> Result<(), String> {
        let owner = line::owner_of(queued.session, queued.group)?;
        let sequence = queued.sequence;
        self.check_sequence(owner, sequence)?;
        let message = self.named(queued.message)?;
        check_delivery(&queued, owner, message.attributes().qos)?;
        let delivery = StoredDelivery {
            message: message.clone(),
            qos: line::qos(queued.qos)?,
            retain: queued.retain,
            identifiers: line::identifiers(queued.identifiers),
            group: queued.from_group,
        };
        let enqueue = Enqueue { owner, sequence, delivery, round: None };
        self.engine.apply_op(&StoreOp::Enqueue(Box::new(enqueue)));
        self.note_place(queued.message, &message);
        self.imported.queued_messages += 1;
        Ok(())
    }

    /// Imports a message that a Client has taken over. Nothing but its sequence is left of it.
    fn taken(&mut self, taken: &Taken) -> Result<(), String> {
        let owner = line::owner_of(taken.session, taken.group)?;
        let Owner::Session(session) = owner else {
            return Err("only a Session has taken a message over: leave the line out".to_owned());
        };
        let sequence = taken.sequence;
        self.check_sequence(owner, sequence)?;
        if let Some(packet_id) = storable::packet_identifier(sequence) {
            self.claims.taken(session, packet_id.get(), self.imported.lines)?;
        }
        let delivery = StoredDelivery {
            message: self.blank.clone(),
            qos: QoS::ExactlyOnce,
            retain: false,
            identifiers: Identifiers::None,
            group: None,
        };
        let enqueue = Enqueue { owner, sequence, delivery, round: None };
        self.engine.apply_op(&StoreOp::Enqueue(Box::new(enqueue)));
        self.engine.apply_op(&StoreOp::Taken { owner, sequence });
        Ok(())
    }

    fn retained(&mut self, retained: &Retained) -> Result<(), String> {
        let message = self.named(retained.message)?;
        if !message.attributes().retain || message.payload().is_empty() {
            return Err(
                "its message was not published with RETAIN, or has no payload, and is kept \
                        by no topic: leave the line out"
                    .to_owned(),
            );
        }
        self.claims.retained_topic(message.topic(), self.imported.lines)?;
        self.keep(retained.number, Kept::Retained, &message)?;
        self.note_place(retained.message, &message);
        Ok(())
    }

    fn delayed(&mut self, delayed: &Delayed) -> Result<(), String> {
        let message = self.named(delayed.message)?;
        let at = Timestamp::from_millis(delayed.at_ms);
        self.keep(delayed.number, Kept::Delayed(at), &message)?;
        self.note_place(delayed.message, &message);
        Ok(())
    }

    fn keep(&mut self, number: u64, what: Kept, message: &Message) -> Result<(), String> {
        self.check_number(number)?;
        self.engine.apply_op(&StoreOp::Keep { number, what, message: message.clone() });
        self.imported.kept_messages += 1;
        Ok(())
    }

    /// Ends the import when everything was read. Also notes which sequences and numbers were given
    /// beyond those that are in use.
    fn finish(mut self) -> Result<Imported, ImportError> {
        let engine = &mut self.engine;
        let mut owners: Vec<(Owner, u64)> = self.next_sequences.into_iter().collect();
        owners.sort_unstable_by_key(|(owner, _)| match owner {
            Owner::Group(number) => (0, *number),
            Owner::Session(number) => (1, *number),
        });
        for (index, (owner, next)) in owners.into_iter().enumerate() {
            let Some(entry) = engine.index.owners.get_mut(&owner) else {
                continue;
            };
            if next > entry.queue.as_deref().map_or(0, Queue::next) {
                entry.queue_mut().raise_next(next);
                engine.append(finished::TAG, |out| finished::encode(owner, next - 1, out));
            }
            if (index as u64).is_multiple_of(COMMIT_LINES) {
                engine.writer.end_commit();
                engine.write()?;
            }
        }
        let next_number = self.next_number.unwrap_or_default();
        if next_number > engine.index.next_number {
            let number = next_number - 1;
            let message = self.blank;
            engine.apply_op(&StoreOp::Keep { number, what: Kept::Retained, message });
            engine.apply_op(&StoreOp::Unkeep { number });
        }
        engine.writer.end_commit();
        self.engine.close()?;
        Ok(self.imported)
    }
}

/// Checks that a message published with this QoS can wait for its owner like that.
fn check_delivery(queued: &Queued, owner: Owner, published: QoS) -> Result<(), String> {
    let qos = line::qos(queued.qos)?;
    if qos == QoS::AtMostOnce {
        return Err("\"qos\" is 0, and such messages are not kept: leave the line out".to_owned());
    }
    if qos > published {
        return Err("\"qos\" is above that of the message: correct it".to_owned());
    }
    line::check_identifiers(&queued.identifiers)?;
    if let Owner::Group(group) = owner
        && (queued.from_group != Some(group) || !queued.identifiers.is_empty())
    {
        return Err(format!(
            "what waits for a shared subscription is \"from_group\" {group} and has no \
             \"identifiers\": correct it"
        ));
    }
    match queued.from_group {
        Some(0) => Err("\"from_group\" is 0, and numbers begin at 1: correct it".to_owned()),
        Some(number) if number > storable::NUMBER_MAX => {
            Err(format!("\"from_group\" is above {}: correct it", storable::NUMBER_MAX))
        }
        _ => Ok(()),
    }
}

fn will_of(will: &Will, client: &Identity) -> Result<WillRecord, String> {
    let message = will.content.to_will(client).map_err(|reason| format!("\"will\": {reason}"))?;
    let Will { delay_seconds, expiry_seconds, .. } = *will;
    Ok(WillRecord { message, delay_seconds, expiry_seconds })
}

/// Returns a moment that has come; refuses the value that stands for an end that has not.
fn moment(field: &str, millis: u64) -> Result<Timestamp, String> {
    let at = Timestamp::from_millis(millis);
    if at == NOT_ENDED {
        return Err(format!("\"{field}\" is no time that was: correct it"));
    }
    Ok(at)
}
