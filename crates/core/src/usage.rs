//! How much of everything a worker holds. All of it is known without walking over what there is.

use crate::core::Core;

/// How much of everything a worker holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Network Connections, with those that have not sent a CONNECT yet, and subscribers inside the
    /// process.
    pub connections: usize,
    /// Sessions, connected or not, and subscribers inside the process.
    pub sessions: usize,
    /// Clients that are connected.
    pub connected: usize,
    /// Subscribers inside the process.
    pub local_subscribers: usize,
    /// Subscriptions of all these Sessions.
    pub subscriptions: usize,
    /// Shared subscriptions that this worker is home to.
    pub shared_subscriptions: usize,
    /// Retained messages of the topics this worker is home to.
    pub retained_messages: u64,
    /// Their bytes.
    pub retained_bytes: u64,
    /// Messages that wait for their time.
    pub delayed_messages: usize,
}

impl Usage {
    /// Adds what another worker holds.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.sessions += other.sessions;
        self.connected += other.connected;
        self.local_subscribers += other.local_subscribers;
        self.subscriptions += other.subscriptions;
        self.shared_subscriptions += other.shared_subscriptions;
        self.retained_messages += other.retained_messages;
        self.retained_bytes += other.retained_bytes;
        self.delayed_messages += other.delayed_messages;
    }
}

impl Core {
    /// Returns how much of everything this worker holds.
    pub fn usage(&self) -> Usage {
        let (retained_messages, retained_bytes) = self.router.retained.usage();
        let clients = &self.ground.clients;
        let (connected, local_subscribers) = clients.present();
        Usage {
            connections: clients.network_connections(),
            sessions: clients.session_count(),
            connected,
            local_subscribers,
            subscriptions: self.ground.tree.len() - self.moves.subscriptions_to_come(),
            shared_subscriptions: self.router.shared.groups.len(),
            retained_messages,
            retained_bytes,
            delayed_messages: self.router.delayed.len(),
        }
    }
}
