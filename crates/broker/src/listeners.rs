//! The listeners of a running broker, and how they are changed.
//!
//! Changes happen one after another, each completely or not at all. Workers are told which
//! listeners are gone, and deal with the connections themselves.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use midge_core::{Limits, Settings};
use midge_net::{
    BindError, Listen, ListenError, ListenerAddress, ListenerChanges, ListenerControl,
    ReadyChanges, RunningListeners,
};

use crate::certificate_watch::CertificateWatch;
use crate::inbox::{Inbox, Letter};
use crate::listener_terms::{ListenerPlace, ListenerSettings, ListenerTable};
use crate::memory::unfinished::Unfinished;

/// A listener that runs, or has run.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Identifies the listener. The number may be used again when no connection that came by the
    /// listener is left.
    pub number: u16,
    /// Where the listener listens, with the port that the operating system chose.
    pub address: ListenerAddress,
    /// The settings that were asked for.
    pub settings: ListenerSettings,
}

/// What a change of the configuration has done to a listener.
#[derive(Clone, Debug)]
pub enum ListenerChange {
    /// The listener is new.
    Added(Listener),
    /// The listener has other settings for connections from now on. Existing ones keep the old
    /// settings.
    Changed(Listener),
    /// The listener is closed, and its connections end: MQTT 5 Clients are told 0x98 Administrative
    /// action.
    Removed(Listener),
    /// The Unix socket of the listener could not get another owner, group or mode. The settings
    /// here have the ones that it keeps. The next change tries again.
    SocketStays {
        /// The listener as it is now.
        listener: Listener,
        /// Why the socket could not be changed.
        reason: String,
    },
}

/// A broker's record of its listeners.
pub(crate) struct BrokerListeners {
    /// Locked during a change, of which there is one at a time, even while it looks up names or
    /// waits for ports.
    changing: Mutex<Running>,
    /// Never locked while something else is waited for. Changed only by the holder of `changing`.
    listed: Mutex<Vec<Listed>>,
    pub(crate) table: Arc<ListenerTable>,
    /// How many connections all listeners together let in.
    pub(crate) connections_max: Arc<AtomicUsize>,
    pub(crate) control: Arc<ListenerControl>,
    inboxes: Arc<[Arc<Inbox>]>,
    unfinished: Arc<Unfinished>,
    /// The listeners are to end. A change that finds this set ends them.
    is_over: AtomicBool,
}

#[derive(Default)]
struct Running {
    limits: Limits,
    /// `None` before the start and after the end.
    listeners: Option<RunningListeners>,
    certificate_watch: Option<CertificateWatch>,
}

#[derive(Clone)]
struct Listed {
    listener: Listener,
    place: Arc<ListenerPlace>,
}

/// A planned change of the listeners.
struct Plan {
    /// The listeners in the order that was asked for.
    wanted: Vec<Wanted>,
    sockets: ListenerChanges,
    removed: Vec<Listed>,
}

/// A listener that is asked for.
enum Wanted {
    /// The listener exists already. True if its settings change.
    Kept(Listed, bool),
    New(u16, ListenerSettings),
}

impl BrokerListeners {
    /// How long [`BrokerListeners::end`] waits for a change under way. A change that does not hang
    /// gives up at once.
    const CHANGE_PATIENCE: Duration = Duration::from_millis(500);
    const CHANGE_PAUSE: Duration = Duration::from_millis(5);

    /// Takes listeners that are bound but do not run yet, in the order of their numbers.
    pub(crate) fn new(
        limits: &Limits,
        bound: Vec<(ListenerSettings, ListenerAddress)>,
        control: Arc<ListenerControl>,
        inboxes: Arc<[Arc<Inbox>]>,
        unfinished: Arc<Unfinished>,
    ) -> Self {
        let bound = bound.into_iter().enumerate();
        let listed: Vec<_> = bound
            .map(|(number, (settings, address))| {
                Listed::new(Listener { number: number as u16, address, settings })
            })
            .collect();
        let running = Running { limits: limits.clone(), ..Running::default() };
        let listeners = Self {
            table: Arc::default(),
            connections_max: Arc::new(AtomicUsize::new(limits.connections_max as usize)),
            control,
            inboxes,
            unfinished,
            changing: Mutex::new(running),
            listed: Mutex::default(),
            is_over: AtomicBool::new(false),
        };
        listeners.set_terms(&listed, limits);
        *listeners.listed() = listed;
        listeners
    }

    /// Takes over the listeners when they run.
    pub(crate) fn run(&self, listeners: RunningListeners) -> io::Result<()> {
        let mut running = self.changing();
        running.listeners = Some(listeners);
        running.certificate_watch = CertificateWatch::start(Arc::clone(&self.control))?;
        Ok(())
    }

    /// Returns all listeners, in the order in which they were asked for. Never waits for a change.
    pub(crate) fn all(&self) -> Vec<Listener> {
        self.listed().iter().map(|listed| listed.listener.clone()).collect()
    }

    /// Stops accepting. Does not wait for a change under way, which gives up and stops the
    /// listeners itself. Workers close the connections that come meanwhile.
    pub(crate) fn stop_accepting(&self) {
        self.control.end_waiting();
        if let Ok(mut running) = self.changing.try_lock()
            && let Some(listeners) = &mut running.listeners
        {
            listeners.stop_accepting();
        }
    }

    /// Ends the listeners and the QUIC connections. Does not wait for a change that hangs at a name
    /// server or at a file system: that change ends them itself when it is over.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        let begun = Instant::now();
        while begun.elapsed() < Self::CHANGE_PATIENCE {
            let running = match self.changing.try_lock() {
                Ok(running) => running,
                Err(TryLockError::Poisoned(running)) => running.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    thread::sleep(Self::CHANGE_PAUSE);
                    continue;
                }
            };
            return Self::end_running(running);
        }
        log::warn!("a change of the listeners is under way still, and is not waited for");
    }

    fn end_running(mut running: MutexGuard<'_, Running>) {
        let ended = (running.listeners.take(), running.certificate_watch.take());
        // Dropping them may take a while.
        drop(running);
        drop(ended);
    }

    /// Puts other settings into effect, also in the workers. `wanted` are the listeners that there
    /// shall be; `None` leaves them as they are.
    ///
    /// # Errors
    ///
    /// One of the listeners cannot be made as asked for, or the broker has stopped. Nothing has
    /// changed then.
    pub(crate) fn reconfigure(
        &self,
        settings: Settings,
        wanted: Option<&[ListenerSettings]>,
    ) -> Result<Vec<ListenerChange>, ListenError> {
        let mut running = self.changing();
        let changes = self.change(&mut running, settings, wanted);
        if self.is_over.load(Ordering::SeqCst) {
            Self::end_running(running);
        }
        changes
    }

    fn change(
        &self,
        running: &mut Running,
        settings: Settings,
        wanted: Option<&[ListenerSettings]>,
    ) -> Result<Vec<ListenerChange>, ListenError> {
        let limits = settings.limits.with_fixed_of(&running.limits).within_memory();
        let before = self.listed().clone();
        let present: Vec<_>;
        let wanted = match wanted {
            Some(wanted) => wanted,
            None => {
                present = before.iter().map(|it| it.listener.settings.clone()).collect();
                &present
            }
        };
        let plan = self.plan(&before, &running.limits, wanted, &limits)?;
        let listeners = running.listeners.as_mut();
        let stopped = || io::Error::other("the broker has stopped");
        let listeners = listeners.ok_or_else(stopped)?;
        let ready = listeners.prepare(plan.sockets);
        if self.control.is_ending() {
            listeners.stop_accepting();
            return Err(stopped().into());
        }
        let ready = ready?;
        // From here on nothing can fail except replacing the file of a Unix socket.
        let (mut listed, mut changes) = settle(plan.wanted, &plan.removed, &ready);
        let settings = Arc::new(settings);
        let failed = listeners.carry_out(ready, || {
            self.take_limits(&listed, &limits);
            self.send_to_all(|| Letter::Reconfigure(Arc::clone(&settings)));
            plan.removed.iter().for_each(|removed| removed.place.remove());
        });
        for Listed { place, .. } in &plan.removed {
            self.table.remove(place.number);
            self.send_to_all(|| Letter::EndListener(Arc::clone(place)));
        }
        for (number, error) in failed {
            keep_socket(&mut listed, &mut changes, &before, number, &error);
        }
        *self.listed() = listed;
        running.limits = limits;
        self.watch_certificates(running);
        Ok(changes)
    }

    fn plan(
        &self,
        before: &[Listed],
        limits_before: &Limits,
        wanted: &[ListenerSettings],
        limits: &Limits,
    ) -> Result<Plan, ListenError> {
        let mut left = before.to_vec();
        let mut kept = Vec::with_capacity(wanted.len());
        for settings in wanted {
            let is_here =
                |it: &Listed| settings.listen.is_at_place_of(&it.listener.settings.listen);
            let found = left.iter().position(is_here).map(|place| left.remove(place));
            kept.push((settings.clone(), found));
        }
        let new = kept.iter().filter(|(_, found)| found.is_none()).count();
        let numbers = self.table.free_numbers(new);
        let too_many = || io::Error::other("there are more listeners than numbers for them");
        let mut numbers = numbers.ok_or_else(too_many)?.into_iter();
        let mut sockets = ListenerChanges::default();
        let mut wanted = Vec::with_capacity(kept.len());
        for (settings, found) in kept {
            let listen = with_deadline(&settings.listen, limits);
            if let Some(mut listed) = found {
                let listener = &mut listed.listener;
                if listen != with_deadline(&listener.settings.listen, limits_before) {
                    sockets.changed.push((listener.number.into(), listen));
                }
                let is_other = listener.settings != settings;
                listener.settings = settings;
                wanted.push(Wanted::Kept(listed, is_other));
            } else if let Some(number) = numbers.next() {
                sockets.added.push((number.into(), listen));
                wanted.push(Wanted::New(number, settings));
            }
        }
        sockets.removed = left.iter().map(|listed| listed.place.number.into()).collect();
        Ok(Plan { wanted, sockets, removed: left })
    }

    /// Applies the node's limits to new connections.
    fn take_limits(&self, listed: &[Listed], limits: &Limits) {
        self.connections_max.store(limits.connections_max as usize, Ordering::Relaxed);
        self.set_terms(listed, limits);
    }

    /// Gives new connections the terms that follow from the present settings and limits.
    fn set_terms(&self, listed: &[Listed], limits: &Limits) {
        for Listed { listener, place } in listed {
            let terms = listener.settings.terms(Arc::clone(place), limits);
            self.unfinished.make_room_for(terms.packet_bytes_max, limits.memory_bytes_max);
            let present = self.table.get(place.number.into());
            if present.is_none_or(|present| *present != terms) {
                self.table.set(terms);
            }
        }
    }

    fn watch_certificates(&self, running: &mut Running) {
        if running.certificate_watch.is_some() {
            return;
        }
        match CertificateWatch::start(Arc::clone(&self.control)) {
            Ok(watch) => running.certificate_watch = watch,
            Err(error) => log::error!("changes of certificate files go unnoticed: {error}"),
        }
    }

    fn send_to_all(&self, letter: impl Fn() -> Letter) {
        self.inboxes.iter().for_each(|inbox| inbox.send(letter()));
    }

    fn changing(&self) -> MutexGuard<'_, Running> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(&self) -> MutexGuard<'_, Vec<Listed>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    fn new(listener: Listener) -> Self {
        let place = Arc::new(ListenerPlace::new(listener.number, &listener.address));
        Self { listener, place }
    }
}

/// Returns the listeners as they are once the plan is carried out, and the changes that this makes.
fn settle(
    wanted: Vec<Wanted>,
    removed: &[Listed],
    ready: &ReadyChanges,
) -> (Vec<Listed>, Vec<ListenerChange>) {
    let removed = removed.iter().map(|it| ListenerChange::Removed(it.listener.clone()));
    let (mut listed, mut changes) = (Vec::with_capacity(wanted.len()), removed.collect::<Vec<_>>());
    let addresses = ready.added();
    for wanted in wanted {
        match wanted {
            Wanted::Kept(kept, is_other) => {
                changes.extend(is_other.then(|| ListenerChange::Changed(kept.listener.clone())));
                listed.push(kept);
            }
            Wanted::New(number, settings) => {
                let found = addresses.iter().find(|(it, _)| *it == usize::from(number));
                let Some((_, address)) = found else { continue };
                let new = Listed::new(Listener { number, address: address.clone(), settings });
                changes.push(ListenerChange::Added(new.listener.clone()));
                listed.push(new);
            }
        }
    }
    (listed, changes)
}

/// Notes that a Unix socket could not be replaced: its listener keeps the old owner, group and
/// mode.
fn keep_socket(
    listed: &mut [Listed],
    changes: &mut Vec<ListenerChange>,
    before: &[Listed],
    number: usize,
    reason: &BindError,
) {
    let is_it = |listener: &Listener| usize::from(listener.number) == number;
    let old = before.iter().find(|it| is_it(&it.listener));
    let new = listed.iter_mut().find(|it| is_it(&it.listener));
    let (Some(old), Some(new)) = (old, new) else { return };
    let (old, new) = (&old.listener, &mut new.listener);
    new.settings.listen.unix = old.settings.listen.unix.clone();
    let is_changed = new.settings != old.settings;
    changes.retain_mut(|change| match change {
        ListenerChange::Changed(listener) if is_it(listener) => {
            listener.clone_from(new);
            is_changed
        }
        _ => true,
    });
    let reason = reason.to_string();
    changes.push(ListenerChange::SocketStays { listener: new.clone(), reason });
}

/// Gives a listener without a deadline of its own the broker's deadline, which also holds for
/// handshakes.
pub(crate) fn with_deadline(listen: &Listen, limits: &Limits) -> Listen {
    let mut listen = listen.clone();
    let deadline = Duration::from_millis(limits.connect_deadline_ms.into());
    listen.limits.connect_deadline.get_or_insert(deadline);
    listen
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::sync::mpsc;

    use midge_core::Durability;
    use midge_net::Listeners;

    use super::*;

    #[test]
    fn nobody_waits_for_a_change_that_is_under_way() {
        let address = ListenerAddress::Unix("/s".into());
        let bound = vec![(ListenerSettings::new("unix:/s"), address)];
        let (inboxes, unfinished) = (Arc::new([]), Arc::new(Unfinished::new(1)));
        let control = Arc::default();
        let listeners =
            BrokerListeners::new(&Limits::default(), bound, control, inboxes, unfinished);
        let change = listeners.changing();
        assert_eq!(listeners.all().len(), 1);
        // Ending does not wait for the change either.
        listeners.stop_accepting();
        drop(change);
        assert!(listeners.control.is_ending());
    }

    #[test]
    fn the_end_does_not_wait_for_a_change_that_hangs() {
        let listen = Listen::new("127.0.0.1:0");
        let bound = Listeners::bind(std::slice::from_ref(&listen)).unwrap();
        let address = bound.addresses().remove(0);
        let settings = ListenerSettings::new(listen);
        let listeners = BrokerListeners::new(
            &Limits::default(),
            vec![(settings, address.clone())],
            bound.control(),
            Arc::new([]),
            Arc::new(Unfinished::new(1)),
        );
        listeners.run(bound.start(Vec::new(), drop, || None).unwrap()).unwrap();
        let address = address.network().unwrap();
        // A change that hangs at a name server, longer than anybody waits for the change.
        let change = listeners.changing();
        let (ended, end) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                listeners.stop_accepting();
                listeners.end();
                ended.send(()).unwrap();
            });
            let is_over = end.recv_timeout(Duration::from_secs(20));
            drop(change);
            assert_eq!(is_over, Ok(()));
        });
        assert!(TcpStream::connect(address).is_ok(), "they are with the change still");
        let settings = Settings {
            limits: Arc::default(),
            topics: Arc::default(),
            durability: Durability::Fsync,
            topic_durabilities: Vec::new(),
            response_prefix: None,
        };
        assert!(listeners.reconfigure(settings, None).is_err());
        assert!(TcpStream::connect(address).is_err(), "it has ended them");
    }

    #[test]
    fn a_socket_that_stays_has_its_old_mode_and_the_rest_is_new() {
        let listener = |mode, connections_max| {
            let mut settings = ListenerSettings::new("unix:/s");
            settings.listen.unix.mode = Some(mode);
            settings.listen.limits.connections_max = connections_max;
            Listener { number: 3, address: ListenerAddress::Unix("/s".into()), settings }
        };
        let before = [Listed::new(listener(0o600, 0))];
        let error = io::Error::from(io::ErrorKind::AlreadyExists);
        let error = BindError { address: "unix:/s".into(), error };
        for (connections_max, is_changed) in [(0, false), (7, true)] {
            let wanted = listener(0o666, connections_max);
            let mut listed = [Listed::new(wanted.clone())];
            let mut changes = vec![ListenerChange::Changed(wanted)];
            keep_socket(&mut listed, &mut changes, &before, 3, &error);
            let expected = listener(0o600, connections_max).settings;
            assert_eq!(listed[0].listener.settings, expected);
            let Some(ListenerChange::SocketStays { listener, .. }) = changes.pop() else {
                panic!("{changes:?}");
            };
            assert_eq!(listener.settings, expected);
            assert_eq!(changes.len(), usize::from(is_changed), "{changes:?}");
        }
    }
}
