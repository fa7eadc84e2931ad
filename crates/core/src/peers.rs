//! Handles what other workers of the node have sent.

use crate::base::identity::WorkerId;
use crate::base::message::Publication;
use crate::boundary::peer_messages::{Peer, PeerMessage, RetainedPeer, SharedPeer};
use crate::boundary::turn::Turn;
use crate::clients::crossings::RoutedFrom;
use crate::core::Core;
use crate::gate::Admitted;
use crate::retained::walking::Pull;
use crate::shared::Tried;

impl Core {
    /// Handles one batch from another worker, in the order in which it was sent.
    pub fn handle_batch(
        &mut self,
        from: WorkerId,
        batch: impl IntoIterator<Item = PeerMessage>,
        turn: &mut Turn,
    ) {
        let batch = batch.into_iter();
        if self.ground.is_restoring {
            self.ground.tree.reserve(batch.size_hint().0, 0); // nearly all of it is filters
        }
        for PeerMessage(message) in batch {
            // The records of a message belong to the round of the worker that has sent it.
            let brings_message = message.message().is_some();
            if brings_message {
                self.ground.clients.rounds.begin_origin(from);
            }
            self.handle_peer(from, message, turn);
            if brings_message {
                self.ground.clients.rounds.end_origin();
            }
        }
    }

    fn handle_peer(&mut self, from: WorkerId, message: Peer, turn: &mut Turn) {
        match message {
            Peer::Publish(message) => {
                let admitted = Admitted::by_peer(Publication::of(&message));
                self.ground.clients.set_routed_from(RoutedFrom::Worker(from));
                self.router.route_from_peer(&mut self.ground, &admitted, turn);
                self.ground.clients.set_routed_from(RoutedFrom::Own);
            }
            Peer::Filter { filter, wanted } => self.ground.tree.set_remote(&filter, from, wanted),
            Peer::Group { filter, group, exists: true } => {
                self.ground.tree.add_group(&filter, group);
            }
            Peer::Group { filter, group, exists: false } => {
                self.ground.tree.remove_group(&filter, group);
                self.router.shared.groups.forget(group);
            }
            Peer::GroupMember { group, member } => {
                self.router.shared.groups.note_member(group, member);
            }
            Peer::GroupMemberGone { group, session } => {
                self.router.shared.groups.note_member_gone(group, session);
            }
            Peer::Fence(ticket) => {
                let retained_sent = self.router.retained.sent();
                turn.fx.send(from, Peer::FencePassed { ticket, retained_sent }.into());
            }
            Peer::FencePassed { ticket, retained_sent } => {
                self.router.retained.note_sent(from, retained_sent);
                self.subscriptions.handle_fence_passed(
                    &mut self.router,
                    &mut self.ground,
                    from,
                    ticket,
                    turn,
                );
            }
            Peer::ExclusiveClaim { ticket, filter, session } => {
                let granted = self.subscriptions.exclusive.claim(&filter, session);
                turn.fx.send(from, Peer::ExclusiveAnswer { ticket, granted }.into());
            }
            Peer::ExclusiveAnswer { ticket, granted } => {
                self.subscriptions.handle_exclusive_answer(
                    &mut self.router,
                    &mut self.ground,
                    ticket,
                    granted,
                    turn,
                );
            }
            Peer::ExclusiveRelease { filter, session } => {
                self.subscriptions.exclusive.free(&filter, session);
            }
            Peer::Round(round) => self.ground.clients.rounds.hear(from, round),
            Peer::Ask { round, ticket } => {
                let (pushed, _) = self.postponed();
                self.ground.clients.rounds.handle_ask(from, round, ticket, pushed, turn);
            }
            Peer::Answer { round, ticket, assurance } => {
                self.ground.clients.rounds.handle_answer(from, round, ticket, assurance);
            }
            Peer::Void(round) => self.handle_void(round, turn),
            Peer::Confirmed(round) => self.handle_confirmed(round, turn),
            Peer::Storing => self.ground.clients.rounds.note_storing(from),
            Peer::Shared(message) => self.handle_shared_peer(from, message, turn),
            Peer::Retained(message) => self.handle_retained_peer(from, message, turn),
            Peer::Move(message) => self.handle_move_peer(from, message, turn),
        }
    }

    fn handle_retained_peer(&mut self, from: WorkerId, message: RetainedPeer, turn: &mut Turn) {
        match message {
            RetainedPeer::Set { message, ticket } => {
                self.router.retained.handle_set(&mut self.ground, from, &message, ticket, turn);
            }
            RetainedPeer::Refused { ticket } => {
                self.router.retained.handle_refused(&mut self.ground, ticket);
            }
            RetainedPeer::Pull { ticket, filter, walk, after } => {
                self.router.retained.handle_pull(Pull { from, ticket, filter, walk, after }, turn);
            }
            RetainedPeer::Chunk { ticket, messages, walk } => {
                self.router.retained.handle_chunk(from, ticket, messages, walk, turn);
                self.subscriptions.take_retained_arrivals(&mut self.router, &mut self.ground, turn);
            }
            RetainedPeer::Stop { walk } => self.router.retained.handle_stop(from, walk),
        }
    }

    fn handle_shared_peer(&mut self, from: WorkerId, message: SharedPeer, turn: &mut Turn) {
        match message {
            SharedPeer::Publish { group, message } => {
                let admitted = Admitted::by_peer(Publication::of(&message));
                self.router.shared.publish_from_peer(&mut self.ground, group, &admitted, turn);
            }
            SharedPeer::Deliver { session, delivery, barred } => {
                self.router.shared.handle_deliver(
                    &mut self.ground,
                    session,
                    delivery,
                    barred,
                    turn,
                );
            }
            SharedPeer::Return { delivery, barred, refusal, online } => {
                let tried = Tried { barred, refusal };
                self.router.shared.handle_return(&mut self.ground, &delivery, tried, online, turn);
            }
            SharedPeer::Join { ticket, name, filter, member } => {
                let group = self.router.shared.join(&mut self.ground, &name, &filter, member, turn);
                self.ground.pending.answer_behind_fence(from, SharedPeer::Joined { ticket, group });
            }
            SharedPeer::Joined { ticket, group } => self.subscriptions.handle_shared_joined(
                &mut self.router,
                &mut self.ground,
                ticket,
                group,
                turn,
            ),
            SharedPeer::Leave { group, session } => {
                self.router.shared.leave(&mut self.ground, group, session, turn);
            }
            SharedPeer::Unsubscribe { ticket, name, filter, session } => {
                if let Some(group) = self.router.shared.groups.by_name(&name, &filter) {
                    self.router.shared.leave(&mut self.ground, group, session, turn);
                }
                self.ground.pending.answer_behind_fence(from, SharedPeer::Left { ticket });
            }
            SharedPeer::Left { ticket } => {
                self.subscriptions.handle_shared_left(
                    &mut self.router,
                    &mut self.ground,
                    ticket,
                    turn,
                );
            }
            SharedPeer::Online { group, session, online } => {
                self.router.shared.handle_online(&mut self.ground, group, session, online, turn);
            }
            SharedPeer::Stored { group } => {
                self.router.shared.store_group(&mut self.ground, group);
            }
            SharedPeer::Settled { group, session } => {
                self.router.shared.handle_settled(group, session);
            }
        }
    }
}
