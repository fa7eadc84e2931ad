//! Authentication of a CONNECT, and of a connected Client that authenticates anew (MQTT 5.0 section
//! 4.12): AUTH packets, and the driver's decisions. This module must never decide by itself who a
//! Client is.

use core::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use midge_codec::{Auth, Packet, ReasonCode, UserProperties};

use crate::base::identity::{ConnectionId, Identity, SessionSlot, Source, UserFacts};
use crate::base::timers::Timer;
use crate::boundary::effects::{AuthAnswer, AuthRequest, DisconnectReason, EnhancedStep, User};
use crate::boundary::turn::Turn;
use crate::connection::Claimed;
use crate::connection::Phase;
use crate::conversation::admitting::has_more;
use crate::conversation::connect::Authenticated;
use crate::core::Core;

impl Core {
    /// Handles the driver's decision about an [`AuthRequest`]. An answer is ignored if its
    /// connection is gone, or if nothing was asked. `address` is where the Client is.
    pub fn handle_auth_answer(
        &mut self,
        id: ConnectionId,
        answer: AuthAnswer,
        address: Option<IpAddr>,
        turn: &mut Turn,
    ) {
        let Some(connection) = self.ground.clients.connection_mut(id) else {
            return;
        };
        match connection.enter(Phase::AwaitingConnect) {
            Phase::Authenticating(pending) => match answer {
                AuthAnswer::Allow { user, data } => {
                    self.establish(id, &pending, &Authenticated { user, data, address }, turn);
                }
                AuthAnswer::Refuse(reason_code) => {
                    let detail = "authentication failed";
                    self.refuse_connect(id, pending.who(), reason_code, detail, turn);
                }
                AuthAnswer::Continue(data) => {
                    let code = ReasonCode::ContinueAuthentication;
                    if let Err(reason_code) = self.send_auth(id, code, data.as_deref(), turn) {
                        let detail = "the Client cannot take the AUTH that is next";
                        let who = pending.who();
                        return self.refuse_connect(id, who, reason_code, detail, turn);
                    }
                    if let Some(connection) = self.ground.clients.connection_mut(id) {
                        connection.enter(Phase::Authenticating(pending));
                    }
                    self.ground.clients.set_reading(id, true, turn);
                }
            },
            phase @ Phase::Connected { reauthenticating: true, .. } => {
                connection.enter(phase);
                self.answer_reauthentication(id, answer, turn);
            }
            other => drop(connection.enter(other)),
        }
    }

    /// Handles an AUTH that comes while the CONNECT is being authenticated [MQTT-4.12.0-3].
    pub(crate) fn handle_connect_auth(
        &mut self,
        id: ConnectionId,
        auth: &Auth<'_>,
        turn: &mut Turn,
    ) {
        let Some(connection) = self.ground.clients.connection(id) else {
            return;
        };
        let method = connection.authentication_method();
        let (listener, version) = (connection.offer().listener, connection.version());
        let Phase::Authenticating(pending) = connection.phase() else {
            return;
        };
        let (client_id, user_name) = (pending.client_id.clone(), pending.user_name.clone());
        if has_more(&auth.user_properties, self.ground.config.limits.user_properties_max) {
            let (code, detail) = (ReasonCode::QuotaExceeded, "too many User Properties");
            let who = Claimed { client_id: &client_id, user_name: user_name.as_deref() };
            return self.refuse_connect(id, who, code, detail, turn);
        }
        let same_method = method.is_some() && auth.authentication_method == method.as_deref();
        // While a decision is outstanding, the connection is paused, and nothing was asked of it.
        let was_asked = same_method && !connection.is_paused();
        if !was_asked || auth.reason_code != ReasonCode::ContinueAuthentication {
            let detail = "AUTH that continues no authentication [MQTT-4.12.0-3]";
            return self.violation(id, detail, turn);
        }
        let enhanced = method.map(|method| EnhancedStep {
            method,
            data: auth.authentication_data.map(Into::into),
            reauthentication: false,
        });
        self.ground.clients.set_reading(id, false, turn);
        turn.fx.authenticate.push(AuthRequest {
            connection: id,
            listener,
            version,
            client_id,
            is_assigned: false,
            user_name,
            password: None,
            enhanced,
        });
    }

    /// Handles the AUTH of a connected Client that authenticates anew (MQTT 5.0 section 4.12.1).
    pub(crate) fn handle_auth(
        &mut self,
        id: ConnectionId,
        session: SessionSlot,
        auth: &Auth<'_>,
        turn: &mut Turn,
    ) {
        let identity = Arc::clone(self.ground.clients.session(session).identity());
        let Some(connection) = self.ground.clients.connection_mut(id) else {
            return;
        };
        let method = connection.authentication_method();
        let &Phase::Connected { reauthenticating: is_under_way, .. } = connection.phase() else {
            return;
        };
        let expected = if is_under_way {
            ReasonCode::ContinueAuthentication
        } else {
            ReasonCode::ReAuthenticate
        };
        let same_method = method.is_some() && auth.authentication_method == method.as_deref();
        let (Some(method), true) = (method, same_method && auth.reason_code == expected) else {
            let detail = "AUTH that continues no authentication of this connection [MQTT-4.12.1-1]";
            return self.violation(id, detail, turn);
        };
        connection.set_reauthenticating(true);
        let data = auth.authentication_data.map(Into::into);
        let request = AuthRequest {
            connection: id,
            listener: connection.offer().listener,
            version: connection.version(),
            client_id: identity.client_id.clone(),
            is_assigned: false,
            user_name: identity.user_name.clone(),
            password: None,
            enhanced: Some(EnhancedStep { method, data, reauthentication: true }),
        };
        turn.fx.authenticate.push(request);
    }

    fn answer_reauthentication(&mut self, id: ConnectionId, answer: AuthAnswer, turn: &mut Turn) {
        let sent = match answer {
            AuthAnswer::Continue(data) => {
                self.send_auth(id, ReasonCode::ContinueAuthentication, data.as_deref(), turn)
            }
            AuthAnswer::Allow { user, data } => self
                .replace_user(id, &user, turn)
                .and_then(|()| self.send_auth(id, ReasonCode::Success, data.as_deref(), turn)),
            AuthAnswer::Refuse(code) => Err(match code {
                // These Reason Codes are for CONNACK only.
                ReasonCode::ClientIdentifierNotValid
                | ReasonCode::BadUserNameOrPassword
                | ReasonCode::ServerUnavailable
                | ReasonCode::Banned
                | ReasonCode::BadAuthenticationMethod => ReasonCode::NotAuthorized,
                code => code,
            }),
        };
        if let Err(code) = sent {
            // [MQTT-4.12.1-2]
            self.close(id, Some(code), &DisconnectReason::ByServer(code), turn);
        }
    }

    /// Replaces what is known of a Client's user by what a re-authentication has found. The user
    /// stays the same one: what waits for the Session is not another's to read.
    fn replace_user(
        &mut self,
        id: ConnectionId,
        user: &User,
        turn: &mut Turn,
    ) -> Result<(), ReasonCode> {
        let Some(connection) = self.ground.clients.connection_mut(id) else {
            return Ok(());
        };
        connection.set_reauthenticating(false);
        let Some(slot) = connection.session() else {
            return Ok(());
        };
        let present = self.ground.clients.session(slot).identity();
        if user.name.is_some() && present.user_name != user.name {
            return Err(ReasonCode::NotAuthorized);
        }
        let identity = Identity {
            user_name: present.user_name.clone(),
            ..identity_of(present.client_id.clone(), user, present.source)
        };
        let former = self.ground.clients.session_mut(slot).set_identity(Arc::new(identity));
        if self.judge_if_new(slot, &former) {
            self.ground.clients.store_record(slot);
        }
        self.limit_by_credential(id, user.valid_for, turn);
        Ok(())
    }

    /// Has a Session judged anew if its Client's user is another one, or has other facts than it
    /// had. Returns whether that is so.
    pub(crate) fn judge_if_new(&mut self, slot: SessionSlot, former: &Identity) -> bool {
        let present = self.ground.clients.session(slot).identity();
        let is_new = (&present.user_name, &present.facts) != (&former.user_name, &former.facts);
        if is_new {
            self.revoking.add(self.ground.clients.session_id(slot));
        }
        is_new
    }

    /// Sets when a Network Connection has to end because its user's credential does.
    pub(crate) fn limit_by_credential(
        &mut self,
        id: ConnectionId,
        valid_for: Option<Duration>,
        turn: &mut Turn,
    ) {
        let Some(connection) = self.ground.clients.connection_mut(id) else {
            return;
        };
        let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let ends_at = valid_for.map(|it| turn.now + millis(it));
        if let Some(at) = connection.set_credential_end(ends_at) {
            self.ground.timers.cancel(at, Timer::CredentialEnd(id));
        }
        if let Some(at) = ends_at {
            self.ground.timers.set(at, Timer::CredentialEnd(id));
        }
    }

    /// Ends a Network Connection because the credential of its user has ended.
    pub(crate) fn handle_credential_end(&mut self, id: ConnectionId, turn: &mut Turn) {
        let Some(connection) = self.ground.clients.connection_mut(id) else {
            return;
        };
        connection.set_credential_end(None);
        let code = ReasonCode::MaximumConnectTime;
        self.close(id, Some(code), &DisconnectReason::ByServer(code), turn);
    }

    /// Sends an AUTH, or returns why the Client cannot be sent one: it named no method
    /// [MQTT-4.12.0-6], or its Maximum Packet Size is too small [MQTT-3.1.2-24].
    fn send_auth(
        &mut self,
        id: ConnectionId,
        reason_code: ReasonCode,
        data: Option<&[u8]>,
        turn: &mut Turn,
    ) -> Result<(), ReasonCode> {
        let Some(connection) = self.ground.clients.connection(id) else {
            return Ok(());
        };
        let method = connection.authentication_method().ok_or(ReasonCode::NotAuthorized)?;
        let packet = Packet::Auth(Auth {
            reason_code,
            authentication_method: Some(&method),
            authentication_data: data,
            reason_string: None,
            user_properties: UserProperties::default(),
        });
        if !self.ground.clients.accepts(id, &packet) {
            return Err(ReasonCode::PacketTooLarge);
        }
        self.ground.clients.send(id, &packet, turn);
        Ok(())
    }
}

/// Returns the identity of a Client that is admitted as this user.
pub(crate) fn identity_of(client_id: Box<str>, user: &User, source: Option<Source>) -> Identity {
    let User { name, facts, .. } = user;
    let facts = (*facts != UserFacts::default()).then(|| Arc::new(facts.clone()));
    Identity { facts, source, ..Identity::new(client_id, name.clone()) }
}
