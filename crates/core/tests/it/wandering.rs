//! Sessions that move between the workers of a [`Node`], as a driver lets them.

use midge_core::{MovedSession, PeerMessage, WorkerId};

use crate::node::Node;

/// What a worker sends to another.
#[derive(Debug)]
pub(crate) enum Mail {
    Batch(Vec<PeerMessage>),
    /// A Session, with the index of its Client's socket.
    Session(Box<MovedSession>, Option<usize>),
}

impl Node {
    /// Begins to move a Session of this worker, or not.
    pub(crate) fn wander(&mut self, worker: usize) {
        let Some(random) = &mut self.wandering else {
            return;
        };
        // With very many Clients, looking for one would take most of the time.
        if random.below(6) > 0 || self.sockets.len() > 100 {
            return;
        }
        let (choice, to) = (random.below(64), random.below(self.cores.len()));
        // A CONNECT that is not decided may be of any Client.
        let is_undecided = |index: &usize| {
            let socket = &self.sockets[*index];
            let protocol = self.cores[socket.worker].protocol(socket.id);
            !socket.is_closed && protocol.is_some_and(|(_, is_connected)| !is_connected)
        };
        let clients = self.clients_of(worker);
        if clients.is_empty() || (0..self.sockets.len()).any(|it| is_undecided(&it)) {
            return;
        }
        let client_id = clients[choice % clients.len()].client_id.clone();
        self.begin_move(worker, &client_id, to);
    }

    /// Begins to move a Session to another worker; false if it stays.
    pub(crate) fn begin_move(&mut self, worker: usize, client_id: &str, to: usize) -> bool {
        let turn = &mut self.current[worker];
        self.cores[worker].evict_session(client_id, WorkerId::new(to), turn).is_ok()
    }

    /// Moves a Session to another worker, and expects it to arrive there.
    pub(crate) fn move_to(&mut self, client_id: &str, to: usize) {
        let from = self.home(client_id);
        assert!(self.begin_move(from, client_id, to), "{client_id} does not go");
        self.settle();
        assert!(self.cores[to].has_session(client_id), "{client_id} has not come");
    }

    /// Takes the Sessions that leave a worker at the end of its turn, before anybody gets the slots
    /// of their connections.
    pub(crate) fn take_left(&mut self, worker: usize) -> Vec<Mail> {
        let mut left = Vec::new();
        while let Some(moved) = self.cores[worker].take_evicted() {
            let socket = moved.connection().and_then(|id| self.by_id.remove(&(worker, id)));
            if let Some(index) = socket {
                self.sockets[index].is_moving = true;
            }
            left.push(Mail::Session(Box::new(moved), socket));
        }
        left
    }

    /// Sends them, behind the batches.
    pub(crate) fn send_left(&mut self, worker: usize, left: Vec<Mail>) -> bool {
        let is_any = !left.is_empty();
        for mail in left {
            if let Mail::Session(moved, _) = &mail {
                let to = moved.to().index();
                self.links[worker][to].push_back(mail);
            }
        }
        is_any
    }

    pub(crate) fn take_mail(&mut self, from: usize, worker: usize) {
        let turn = &mut self.current[worker];
        match self.links[from][worker].pop_front().expect("not empty") {
            Mail::Batch(batch) => {
                self.cores[worker].handle_batch(WorkerId::new(from), batch, turn);
            }
            Mail::Session(moved, socket) => {
                self.homes.insert(moved.client_id().into(), worker);
                self.moved += 1;
                let id = self.cores[worker].adopt_session(*moved, turn);
                let (Some(index), Some(id)) = (socket, id) else {
                    return;
                };
                let socket = &mut self.sockets[index];
                (socket.worker, socket.id) = (worker, id);
                (socket.is_moving, socket.is_read) = (false, true);
                self.by_id.insert((worker, id), index);
                if socket.is_closed {
                    // The Client has gone meanwhile.
                    self.by_id.remove(&(worker, id));
                    self.cores[worker].handle_closed(id, &mut self.current[worker]);
                }
            }
        }
    }

    /// Lets the node go on until the Session of this Client is not on its way. A driver lets the
    /// CONNECT of a Client wait so long, and calls the move off if that can be done.
    pub(crate) fn wait_for_move(&mut self, client_id: &str) {
        for worker in 0..self.cores.len() {
            self.cores[worker].call_off_move(client_id, &mut self.current[worker]);
        }
        let in_mail = |mail: &Mail| match mail {
            Mail::Session(moved, _) => moved.client_id() == client_id,
            Mail::Batch(_) => false,
        };
        while self.cores.iter().any(|core| core.is_moving(client_id))
            || self.links.iter().flatten().flatten().any(in_mail)
        {
            for worker in 0..self.cores.len() {
                self.turn(worker);
            }
        }
    }
}
