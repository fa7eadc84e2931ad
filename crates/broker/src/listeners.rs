//! The listeners of a broker while it runs: which there are, and how they become others.
//!
//! One change after another, each whole or not at all. Workers are told of listeners that are gone;
//! what that means for connections is theirs to carry out.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use midge_core::{Limits, Settings};
use midge_net::{
    Listen, ListenError, ListenerAddress, ListenerChanges, ListenerControl, ReadyChanges,
    RunningListeners,
};

use crate::certificate_watch::CertificateWatch;
use crate::inbox::{Inbox, Letter};
use crate::listener_terms::{ListenerPlace, ListenerSettings, ListenerTable};
use crate::unfinished::Unfinished;

/// A listener that runs, or has run.
#[derive(Clone, Debug)]
pub struct Listener {
    /// What it is known by; a number may be given again when nobody is connected who came by it.
    pub number: u16,
    /// Where it listens, with the port that the operating system chose.
    pub address: ListenerAddress,
    /// As it was asked for.
    pub settings: ListenerSettings,
}

/// What a change of the configuration has done to a listener.
#[derive(Clone, Debug)]
pub enum ListenerChange {
    /// It is new.
    Added(Listener),
    /// It has other settings, for connections from now on. Those that stand keep the old ones.
    Changed(Listener),
    /// It is closed, and its connections end: MQTT 5 Clients are told 0x98 Administrative action.
    Removed(Listener),
}

/// What a broker has of its listeners.
pub(crate) struct BrokerListeners {
    state: Mutex<State>,
    pub(crate) table: Arc<ListenerTable>,
    /// Connections that all listeners together let in.
    pub(crate) connections_max: Arc<AtomicUsize>,
    pub(crate) control: Arc<ListenerControl>,
    inboxes: Arc<[Arc<Inbox>]>,
    unfinished: Arc<Unfinished>,
}

#[derive(Default)]
struct State {
    limits: Limits,
    listed: Vec<Listed>,
    /// `None` before the start and after the end.
    running: Option<RunningListeners>,
    certificate_watch: Option<CertificateWatch>,
}

#[derive(Clone)]
struct Listed {
    listener: Listener,
    place: Arc<ListenerPlace>,
}

/// What is to become of the listeners.
struct Plan {
    /// In the order that was asked for.
    wanted: Vec<Wanted>,
    sockets: ListenerChanges,
    removed: Vec<Listed>,
}

/// A listener that is asked for.
enum Wanted {
    /// It is there; true: its settings are others.
    Kept(Listed, bool),
    New(u16, ListenerSettings),
}

impl BrokerListeners {
    /// Listeners that are bound, in the order of their numbers, and do not run yet.
    pub(crate) fn new(
        limits: &Limits,
        bound: Vec<(ListenerSettings, ListenerAddress)>,
        control: Arc<ListenerControl>,
        inboxes: Arc<[Arc<Inbox>]>,
        unfinished: Arc<Unfinished>,
    ) -> Self {
        let bound = bound.into_iter().enumerate();
        let listed = bound.map(|(number, (settings, address))| {
            Listed::new(Listener { number: number as u16, address, settings })
        });
        let state = State {
            limits: limits.clone(),
            listed: listed.collect(),
            running: None,
            certificate_watch: None,
        };
        let listeners = Self {
            table: Arc::default(),
            connections_max: Arc::new(AtomicUsize::new(limits.connections_max as usize)),
            control,
            inboxes,
            unfinished,
            state: Mutex::default(),
        };
        listeners.set_terms(&state);
        *listeners.state() = state;
        listeners
    }

    /// They run from now on.
    pub(crate) fn run(&self, running: RunningListeners) -> io::Result<()> {
        let mut state = self.state();
        state.running = Some(running);
        state.certificate_watch = CertificateWatch::start(Arc::clone(&self.control))?;
        Ok(())
    }

    /// All of them, in the order in which they were asked for.
    pub(crate) fn all(&self) -> Vec<Listener> {
        self.state().listed.iter().map(|listed| listed.listener.clone()).collect()
    }

    pub(crate) fn stop_accepting(&self) {
        if let Some(running) = &mut self.state().running {
            running.stop_accepting();
        }
    }

    /// Ends them, with the connections of QUIC.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        let ended = (state.running.take(), state.certificate_watch.take());
        // It may take a while.
        drop(state);
        drop(ended);
    }

    /// Puts other settings into effect, for the workers, too. `wanted` is how the listeners are to
    /// be; `None`: as they are.
    ///
    /// # Errors
    ///
    /// One of the listeners cannot be as it is asked for, or the broker has stopped. Nothing has
    /// changed.
    pub(crate) fn reconfigure(
        &self,
        settings: Settings,
        wanted: Option<&[ListenerSettings]>,
    ) -> Result<Vec<ListenerChange>, ListenError> {
        let mut state = self.state();
        let limits = settings.limits.with_fixed_of(&state.limits).within_memory();
        let present: Vec<_>;
        let wanted = match wanted {
            Some(wanted) => wanted,
            None => {
                present = state.listed.iter().map(|it| it.listener.settings.clone()).collect();
                &present
            }
        };
        let plan = self.plan(&state, wanted, &limits)?;
        let running = state.running.as_mut();
        let running = running.ok_or_else(|| io::Error::other("the broker has stopped"))?;
        let ready = running.prepare(plan.sockets)?;
        // From here on nothing fails.
        let (listed, changes) = settle(plan.wanted, &plan.removed, &ready);
        let state = &mut *state;
        (state.limits, state.listed) = (limits, listed);
        self.take_limits(state);
        let settings = Arc::new(settings);
        self.send_to_all(|| Letter::Reconfigure(Arc::clone(&settings)));
        plan.removed.iter().for_each(|removed| removed.place.remove());
        if let Some(running) = &mut state.running {
            running.carry_out(ready);
        }
        for Listed { place, .. } in &plan.removed {
            self.table.remove(place.number);
            self.send_to_all(|| Letter::EndListener(Arc::clone(place)));
        }
        self.watch_certificates(state);
        Ok(changes)
    }

    fn plan(
        &self,
        state: &State,
        wanted: &[ListenerSettings],
        limits: &Limits,
    ) -> Result<Plan, ListenError> {
        let mut left = state.listed.clone();
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
                if listen != with_deadline(&listener.settings.listen, &state.limits) {
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

    /// What the limits of the node mean for connections from now on.
    fn take_limits(&self, state: &State) {
        self.connections_max.store(state.limits.connections_max as usize, Ordering::Relaxed);
        self.set_terms(state);
    }

    /// Gives new connections the present terms.
    fn set_terms(&self, state: &State) {
        for Listed { listener, place } in &state.listed {
            let terms = listener.settings.terms(Arc::clone(place), &state.limits);
            self.unfinished.make_room_for(terms.packet_bytes_max, state.limits.memory_bytes_max);
            let present = self.table.get(place.number.into());
            if present.is_none_or(|present| *present != terms) {
                self.table.set(terms);
            }
        }
    }

    fn watch_certificates(&self, state: &mut State) {
        if state.certificate_watch.is_some() {
            return;
        }
        match CertificateWatch::start(Arc::clone(&self.control)) {
            Ok(watch) => state.certificate_watch = watch,
            Err(error) => log::error!("changes of certificate files go unnoticed: {error}"),
        }
    }

    fn send_to_all(&self, letter: impl Fn() -> Letter) {
        self.inboxes.iter().for_each(|inbox| inbox.send(letter()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    fn new(listener: Listener) -> Self {
        let place = Arc::new(ListenerPlace::new(listener.number, &listener.address));
        Self { listener, place }
    }
}

/// The listeners as they are when the plan is carried out, and what that changes.
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

/// A listener that says nothing of its deadline has the broker's, for handshakes, too.
pub(crate) fn with_deadline(listen: &Listen, limits: &Limits) -> Listen {
    let mut listen = listen.clone();
    let deadline = Duration::from_millis(limits.connect_deadline_ms.into());
    listen.limits.connect_deadline.get_or_insert(deadline);
    listen
}
