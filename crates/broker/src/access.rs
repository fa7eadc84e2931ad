//! Who comes in and what Clients may do, in a broker with users or access rules.
//!
//! Asks the authentication chain, on threads of its own, because a password may cost a tenth of a
//! second; asks the compiled rules, on the workers' threads. Both can be replaced while the broker
//! runs. This module must never decide anything itself.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use midge_auth::{
    AccessPolicy, Action, Chain, ClientPolicy, HostNetwork, JobTerms, Login, MemberExchange,
    Outcome, Pool, PoolOptions,
};
use midge_codec::QoS;
use midge_core::{AllowAll, AuthAnswer, AuthRequest, Identity, Policy};
use midge_net::Peer;

use crate::hook::{AuthReply, GuardedHook};

/// Who comes in, and what Clients may do. A broker gets it by
/// [`BrokerBuilder::access`](crate::BrokerBuilder::access), and another one by
/// [`BrokerHandle::set_access`](crate::BrokerHandle::set_access).
pub struct Access {
    /// Decides who a Client is.
    pub chain: Chain,
    /// Decides what it may do; `None`: everything.
    pub policy: Option<AccessPolicy>,
}

/// The access control of a running broker.
pub(crate) struct AccessControl {
    current: RwLock<Arc<Access>>,
    /// Whether there are rules.
    has_rules: AtomicBool,
    /// Counts the policies. What a policy has noted about a Client belongs to one of them.
    epoch: AtomicU64,
    pool: Pool,
}

/// What the core asks: the hook and the rules, of those that there are. Both have to agree.
pub(crate) struct NodePolicy {
    hook: Option<Arc<GuardedHook>>,
    access: Option<Arc<AccessControl>>,
}

impl AccessControl {
    /// Logins that wait for a thread.
    const WAITING_MAX: usize = 10_000;
    /// What passwords may need at the same time.
    const MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;

    /// Starts the threads on which logins are decided, if there is anything to decide.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread.
    pub(crate) fn start(access: Option<Access>, workers: usize) -> io::Result<Option<Arc<Self>>> {
        let Some(access) = access else {
            return Ok(None);
        };
        let pool = Pool::start(&PoolOptions {
            name: "midge-login".into(),
            threads: NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN),
            waiting_max: Self::WAITING_MAX,
            memory_bytes_max: Self::MEMORY_BYTES_MAX,
        })?;
        let has_rules = AtomicBool::new(access.policy.is_some());
        let current = RwLock::new(Arc::new(access));
        Ok(Some(Arc::new(Self { current, has_rules, epoch: AtomicU64::new(0), pool })))
    }

    /// Puts another one in the place of the present one. Who is connected has to be judged anew
    /// then.
    pub(crate) fn replace(&self, access: Access) {
        let has_rules = access.policy.is_some();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
        self.has_rules.store(has_rules, Ordering::Release);
        // A note of the new epoch is never about the policy before.
        self.epoch.fetch_add(1, Ordering::Release);
    }

    fn current(&self) -> Arc<Access> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides about a login that costs next to nothing; `None` for others, which
    /// [`AccessControl::decide_later`] decides about.
    pub(crate) fn decide_now(&self, login: &Login) -> Option<AuthAnswer> {
        let access = self.current();
        let outcome = access.chain.decide_quickly(login)?;
        log_refusal(login, &outcome);
        Some(outcome.answer)
    }

    /// Has a login decided about on another thread, or refused if that cannot begin within
    /// `patience`: then its Client does not wait any more.
    pub(crate) fn decide_later(&self, login: Login, patience: Duration, mut reply: AuthReply) {
        let access = self.current();
        let begun = reply.take_kept().and_then(|kept| kept.downcast::<MemberExchange>().ok());
        let terms = JobTerms {
            network: login.address.map(HostNetwork::of),
            deadline: Instant::now() + patience,
            memory_bytes: access.chain.memory_bytes(),
        };
        let login = Arc::new(login);
        let shown = Arc::clone(&login);
        let work = move || match begun {
            Some(exchange) => exchange.go_on(&login),
            None => access.chain.decide(&login),
        };
        self.pool.submit(terms, work, move |outcome| {
            let outcome = outcome.unwrap_or_else(|why| Outcome::busy(&format!("{why:?}")));
            log_refusal(&shown, &outcome);
            match (outcome.answer, outcome.exchange) {
                (AuthAnswer::Continue(data), Some(exchange)) => reply.go_on(data, exchange),
                (answer, _) => reply.answer(answer),
            }
        });
    }

    /// Asks the rules about a Client. They are looked through for it once in each epoch.
    #[inline]
    fn of_client(&self, client: &Identity, ask: impl FnOnce(&ClientPolicy) -> bool) -> bool {
        if !self.has_rules.load(Ordering::Acquire) {
            return true;
        }
        let epoch = self.epoch.load(Ordering::Acquire);
        match client.note.get::<ClientPolicy>(epoch) {
            Some(policy) => ask(policy),
            None => self.judge(client, epoch).is_none_or(|policy| ask(&policy)),
        }
    }

    /// Returns what the rules say of a Client; `None`: it may do everything, as there are no rules,
    /// or this is the program itself.
    #[cold]
    fn judge(&self, client: &Identity, epoch: u64) -> Option<Arc<ClientPolicy>> {
        if client.is_of_program() {
            return None;
        }
        let policy = self.current().policy.as_ref().map(|policy| policy.judge(client))?;
        client.note.set(epoch, Arc::<ClientPolicy>::clone(&policy));
        Some(policy)
    }

    /// Sessions of nobody in particular are from a time when everybody came in. Where nobody comes
    /// in anonymously any more, they would have no owner.
    fn may_claim(&self, client: &Identity, owner: &Identity) -> bool {
        let is_claim = owner.user_name.is_none() && client.user_name.is_some();
        is_claim && !owner.is_of_program() && !self.current().chain.lets_anonymous_in()
    }

    fn may_stay(&self, client: &Identity) -> bool {
        if client.is_of_program() {
            return true;
        }
        self.current().chain.still_knows(client) && self.of_client(client, ClientPolicy::may_stay)
    }

    #[inline]
    fn allows(&self, client: &Identity, action: Action<'_>) -> bool {
        self.of_client(client, |policy| policy.decide(action).allowed)
    }
}

/// Returns what a Client shows. `present_user`: who it is, if it authenticates anew.
pub(crate) fn login_of(
    request: AuthRequest,
    peer: &Peer,
    listener: &str,
    present_user: Option<Box<str>>,
) -> Login {
    let AuthRequest { client_id, user_name, password, enhanced, .. } = request;
    let (method, data) = enhanced.map_or((None, None), |step| (Some(step.method), step.data));
    let certificate = peer.tls.as_ref().and_then(|tls| tls.certificate.as_ref());
    let certificates = certificate.map(|it| it.chain.iter().map(|der| (**der).into()).collect());
    let proxied = peer.proxy.as_ref().and_then(|proxy| proxy.tls.as_ref());
    let proxied = proxied.filter(|tls| tls.is_verified);
    Login {
        client_id,
        user_name,
        password,
        method,
        data,
        certificates: certificates.unwrap_or_default(),
        proxy_common_name: proxied.and_then(|tls| tls.common_name.as_deref()).map(Into::into),
        address: peer.address.ip(),
        listener: Some(listener.into()),
        present_user,
    }
}

fn log_refusal(login: &Login, outcome: &Outcome) {
    if let Some(refusal) = &outcome.refusal {
        let address = login.address.map(|address| address.to_string());
        log::debug!(
            client_id = &*login.client_id, user_name = login.user_name.as_deref(),
            address = address.as_deref(), reason = &**refusal;
            "login of {:?} refused: {refusal}", login.client_id
        );
    }
}

impl NodePolicy {
    pub(crate) fn of(
        hook: Option<&Arc<GuardedHook>>,
        access: Option<&Arc<AccessControl>>,
    ) -> Arc<dyn Policy> {
        match (hook, access) {
            (None, None) => Arc::new(AllowAll),
            (hook, access) => Arc::new(Self { hook: hook.cloned(), access: access.cloned() }),
        }
    }

    #[inline]
    fn rules_allow(&self, client: &Identity, action: Action<'_>) -> bool {
        self.access.as_ref().is_none_or(|access| access.allows(client, action))
    }

    #[inline]
    fn hook_allows(&self, ask: impl FnOnce(&GuardedHook) -> bool) -> bool {
        self.hook.as_deref().is_none_or(ask)
    }
}

impl Policy for NodePolicy {
    fn may_stay(&self, client: &Identity) -> bool {
        let access = self.access.as_ref();
        self.hook_allows(|hook| hook.may_stay(client))
            && access.is_none_or(|access| access.may_stay(client))
    }

    fn may_claim(&self, client: &Identity, owner: &Identity) -> bool {
        self.access.as_ref().is_some_and(|access| access.may_claim(client, owner))
    }

    fn may_publish(&self, publisher: &Identity, topic: &str, qos: QoS, retain: bool) -> bool {
        self.hook_allows(|hook| hook.may_publish(publisher, topic, qos, retain))
            && self.rules_allow(publisher, Action::Publish { topic, qos, retain })
    }

    fn may_subscribe(&self, subscriber: &Identity, filter: &str, qos: QoS) -> bool {
        self.hook_allows(|hook| hook.may_subscribe(subscriber, filter, qos))
            && self.rules_allow(subscriber, Action::Subscribe { filter, qos })
    }

    fn may_receive(&self, receiver: &Identity, topic: &str) -> bool {
        self.hook_allows(|hook| hook.may_receive(receiver, topic))
            && self.rules_allow(receiver, Action::Receive { topic })
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl fmt::Debug for AccessControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessControl").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
