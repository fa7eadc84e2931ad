//! Handles what other workers of the node have sent.

use crate::base::identity::WorkerId;
use crate::base::message::Publication;
use crate::boundary::peer_messages::{Peer, PeerMessage};
use crate::boundary::turn::Turn;
use crate::core::Core;
use crate::gate::Admitted;
use crate::retained::requests::Pull;
use crate::shared::Tried;

impl Core {
    /// Handles one batch from another worker, in the order in which it was sent.
    pub fn handle_batch(
        &mut self,
        from: WorkerId,
        batch: impl IntoIterator<Item = PeerMessage>,
        turn: &mut Turn,
    ) {
        for message in batch {
            self.handle_peer(from, message.0, turn);
        }
    }

    fn handle_peer(&mut self, from: WorkerId, message: Peer, turn: &mut Turn) {
        match message {
            Peer::Publish(message) => {
                self.ground.clients.rounds.begin_origin(from);
                let admitted = Admitted::by_peer(Publication::of(&message));
                self.router.route_from_peer(&mut self.ground, &admitted, turn);
                self.ground.clients.rounds.end_origin();
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
                self.subscriptions.exclusive.release(&filter, session);
            }
            Peer::Round(round) => self.ground.clients.rounds.hear(from, round),
            Peer::Ask { round, ticket } => {
                let routings = self.router.backlog.pushed();
                self.ground.clients.rounds.handle_ask(from, round, ticket, routings, turn);
            }
            Peer::Answer { round, ticket } => {
                self.ground.clients.rounds.handle_answer(round, ticket);
            }
            Peer::Confirmed(round) => self.handle_confirmed(round, turn),
            Peer::Storing => self.ground.clients.rounds.note_storing(from),
            other => self.handle_retained_peer(from, other, turn),
        }
    }

    fn handle_retained_peer(&mut self, from: WorkerId, message: Peer, turn: &mut Turn) {
        match message {
            Peer::RetainedSet { message, ticket } => {
                self.ground.clients.rounds.begin_origin(from);
                self.router.retained.handle_set(&mut self.ground, from, (&message, ticket), turn);
                self.ground.clients.rounds.end_origin();
            }
            Peer::RetainedRefused { ticket } => {
                self.router.retained.handle_refused(&mut self.ground, ticket);
            }
            Peer::RetainedPull { ticket, filter, walk, after } => {
                self.router.retained.handle_pull(Pull { from, ticket, filter, walk, after }, turn);
            }
            Peer::RetainedChunk { ticket, messages, walk } => {
                self.router.retained.handle_chunk(from, ticket, messages, walk, turn);
                self.subscriptions.take_retained_arrivals(&mut self.router, &mut self.ground, turn);
            }
            Peer::RetainedStop { walk } => self.router.retained.handle_stop(walk),
            other => self.handle_shared_peer(from, other, turn),
        }
    }

    fn handle_shared_peer(&mut self, from: WorkerId, message: Peer, turn: &mut Turn) {
        match message {
            Peer::SharedPublish { group, message } => {
                self.ground.clients.rounds.begin_origin(from);
                self.router.shared.distribute(
                    &mut self.ground,
                    group,
                    &Publication::of(&message),
                    Tried::default(),
                    turn,
                );
            }
            Peer::SharedDeliver { session, delivery, barred } => {
                self.ground.clients.rounds.begin_origin(from);
                self.router.shared.handle_deliver(
                    &mut self.ground,
                    session,
                    delivery,
                    barred,
                    turn,
                );
            }
            Peer::SharedReturn { delivery, barred, refusal, online } => {
                self.ground.clients.rounds.begin_origin(from);
                let tried = Tried { barred, refusal };
                self.router.shared.handle_return(&mut self.ground, &delivery, tried, online, turn);
            }
            Peer::SharedJoin { ticket, name, filter, member } => {
                let group = self.router.shared.join(&mut self.ground, &name, &filter, member, turn);
                self.ground.pending.answer_behind_fence(from, Peer::SharedJoined { ticket, group });
            }
            Peer::SharedJoined { ticket, group } => self.subscriptions.handle_shared_joined(
                &mut self.router,
                &mut self.ground,
                ticket,
                group,
                turn,
            ),
            Peer::SharedLeave { group, session } => {
                self.router.shared.leave(&mut self.ground, group, session, turn);
            }
            Peer::SharedUnsubscribe { ticket, name, filter, session } => {
                if let Some(group) = self.router.shared.groups.by_name(&name, &filter) {
                    self.router.shared.leave(&mut self.ground, group, session, turn);
                }
                self.ground.pending.answer_behind_fence(from, Peer::SharedLeft { ticket });
            }
            Peer::SharedLeft { ticket } => {
                self.subscriptions.arrive(&mut self.router, &mut self.ground, ticket, turn);
            }
            Peer::SharedOnline { group, session, online } => {
                self.router.shared.handle_online(&mut self.ground, group, session, online, turn);
            }
            Peer::SharedSettled { group, session } => {
                self.router.shared.handle_settled(group, session);
            }
            _ => (),
        }
        self.ground.clients.rounds.end_origin();
    }
}
