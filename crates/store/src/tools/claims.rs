//! Things of a store that only one line of an import can have: a number, a name, a filter of a
//! Session, a retained topic, a Packet Identifier. Notes which line has each of them, and names the
//! first line when another one claims the same. It holds as many names as a broker that starts on
//! the store.

use std::hash::Hash;

use hashbrown::{HashMap, HashSet};

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// The line of an import, from 1.
pub(crate) type LineNumber = u64;

/// What was claimed so far.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    numbers: Map<u64, LineNumber>,
    clients: Map<Box<str>, Holder>,
    groups: Map<(Box<str>, Box<str>), Holder>,
    filters: Map<(u64, Box<str>), LineNumber>,
    exclusive_filters: Map<Box<str>, Holder>,
    /// Numbers of Sessions that are over: another one has come in their place, or they have ended
    /// with their Network Connections. A broker that starts gives up their subscriptions.
    over: HashSet<u64, foldhash::fast::FixedState>,
    retained_topics: Map<Box<str>, LineNumber>,
    taken_packet_ids: Map<(u64, u16), LineNumber>,
}

/// The holder of a name: the number of a Session or a shared subscription, and its line.
#[derive(Clone, Copy, Debug)]
struct Holder {
    number: u64,
    line: LineNumber,
}

impl Claims {
    /// Claims the number of a Session, a shared subscription or a kept message.
    pub(crate) fn number(&mut self, number: u64, line: LineNumber) -> Result<(), String> {
        claim(&mut self.numbers, number, line).map_err(|first| {
            format!("\"number\" {number} is in line {first} already: correct one of the two")
        })
    }

    /// Claims the Client Identifier of a Session. If an earlier Session has it, the new one takes
    /// it over if `supersedes` names that Session.
    pub(crate) fn client(
        &mut self,
        client_id: &str,
        session: u64,
        supersedes: Option<u64>,
        line: LineNumber,
    ) -> Result<(), String> {
        let holder = Holder { number: session, line };
        self.over.extend(supersedes);
        let former = self.clients.insert(client_id.into(), holder);
        check_superseded(former, session, supersedes).map_err(|fault| match fault {
            Fault::Twice(first) => format!(
                "the Client Identifier {client_id:?} is that of the Session in line {first}: leave \
                 out one of the two, with the lines that belong to it"
            ),
            Fault::Unknown(number) => format!(
                "\"supersedes\" {number} is no earlier Session of the Client {client_id:?}: leave \
                 the field out, or put the line of that Session before this one"
            ),
        })
    }

    /// Notes that a Session has ended and is there only for messages that others are to get.
    pub(crate) fn note_ended(&mut self, session: u64) {
        self.over.insert(session);
    }

    /// Claims the ShareName and Topic Filter of a shared subscription, in the same way.
    pub(crate) fn group(
        &mut self,
        name: &str,
        filter: &str,
        group: u64,
        supersedes: Option<u64>,
        line: LineNumber,
    ) -> Result<(), String> {
        let holder = Holder { number: group, line };
        let former = self.groups.insert((name.into(), filter.into()), holder);
        check_superseded(former, group, supersedes).map_err(|fault| match fault {
            Fault::Twice(first) => format!(
                "the shared subscription {filter:?} of {name:?} is in line {first} already: leave \
                 out one of the two, with the lines that belong to it"
            ),
            Fault::Unknown(number) => format!(
                "\"supersedes\" {number} is no earlier shared subscription of this name and \
                 filter: leave the field out, or put the line of that one before this one"
            ),
        })
    }

    /// Claims the Topic Filter of a subscription, and an exclusive one against all other Sessions.
    pub(crate) fn filter(
        &mut self,
        session: u64,
        filter: &str,
        line: LineNumber,
    ) -> Result<(), String> {
        claim(&mut self.filters, (session, filter.into()), line).map_err(|first| {
            format!(
                "Session {session} has the filter {filter:?} in line {first} already: leave out \
                 one of the two lines"
            )
        })?;
        match filter.starts_with("$exclusive/") {
            true => self.exclusive_filter(session, filter, line),
            false => Ok(()),
        }
    }

    fn exclusive_filter(
        &mut self,
        session: u64,
        filter: &str,
        line: LineNumber,
    ) -> Result<(), String> {
        if self.over.contains(&session) {
            return Ok(());
        }
        let holder = Holder { number: session, line };
        match self.exclusive_filters.insert(filter.into(), holder) {
            Some(former) if !self.over.contains(&former.number) => Err(format!(
                "{filter:?} is an exclusive subscription, and Session {} has it in line {} \
                 already: leave out one of the two lines",
                former.number, former.line
            )),
            _ => Ok(()),
        }
    }

    /// Claims the topic of a retained message.
    pub(crate) fn retained_topic(&mut self, topic: &str, line: LineNumber) -> Result<(), String> {
        claim(&mut self.retained_topics, topic.into(), line).map_err(|first| {
            format!(
                "the topic {topic:?} has its retained message in line {first} already: leave out \
                 one of the two lines"
            )
        })
    }

    /// Claims the Packet Identifier of a message that a Client has taken over.
    pub(crate) fn taken(
        &mut self,
        session: u64,
        packet_id: u16,
        line: LineNumber,
    ) -> Result<(), String> {
        claim(&mut self.taken_packet_ids, (session, packet_id), line).map_err(|first| {
            format!(
                "this message and that of line {first} would have the same Packet Identifier \
                 ({packet_id}): leave out one of the two lines"
            )
        })
    }
}

enum Fault {
    Twice(LineNumber),
    Unknown(u64),
}

fn claim<K: Eq + Hash>(
    claims: &mut Map<K, LineNumber>,
    what: K,
    line: LineNumber,
) -> Result<(), LineNumber> {
    match claims.insert(what, line) {
        None => Ok(()),
        Some(first) => Err(first),
    }
}

/// Checks that `supersedes` names the former holder, if there is one. A broker that ended while one
/// replaced the other may have left both; the new one has the larger number.
fn check_superseded(
    former: Option<Holder>,
    number: u64,
    supersedes: Option<u64>,
) -> Result<(), Fault> {
    match (former, supersedes) {
        (None, None) => Ok(()),
        (Some(former), Some(earlier)) if former.number == earlier && earlier < number => Ok(()),
        (Some(former), None) => Err(Fault::Twice(former.line)),
        (_, Some(earlier)) => Err(Fault::Unknown(earlier)),
    }
}
