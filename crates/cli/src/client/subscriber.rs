//! What `midge sub` does once its arguments are read: connect, subscribe, print, and connect again
//! when the connection is lost.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use midge_codec::{QoS, ReasonCode, SubscriptionOptions, TopicFilter, TopicName};
use midge_core::counted;

use super::driver::{Driver, Wake};
use super::error::ClientError;
use super::message::Message;
use super::printer::Printer;
use super::property::Properties;
use super::reason;
use super::reconnect::{self, Course, Retry};
use super::session::{CONTROL, Event, Publication};

/// What the user asked for.
pub(crate) struct Plan {
    pub(crate) filters: Vec<String>,
    pub(crate) filter_out: Vec<String>,
    pub(crate) unsubscribe: Vec<String>,
    pub(crate) options: SubscriptionOptions,
    pub(crate) count: Option<u64>,
    pub(crate) exit_after_subscribe: bool,
    pub(crate) no_retained: bool,
    pub(crate) retained_only: bool,
    pub(crate) remove_retained: bool,
    pub(crate) data_streams: bool,
    pub(crate) retry: Retry,
    pub(crate) timeout: Duration,
    pub(crate) deadline: Option<Instant>,
}

impl Plan {
    /// Whether `-T` keeps a message of this topic from being printed.
    fn filters_out(&self, topic: &str) -> bool {
        let Ok(topic) = TopicName::new(topic) else { return false };
        let mut filters =
            self.filter_out.iter().filter_map(|filter| TopicFilter::parse(filter).ok());
        filters.any(|filter| filter.matches(topic))
    }
}

/// A subscriber under way.
pub(crate) struct Subscriber {
    plan: Plan,
    properties: Properties,
    printer: Printer,
    printed: u64,
    /// SUBSCRIBE and UNSUBSCRIBE packets that are not yet answered.
    unanswered: u32,
    /// How many of these are SUBSCRIBE packets.
    unanswered_subscriptions: u32,
    refused: bool,
    /// Whether a subscription was granted on this connection.
    granted: bool,
    /// Topics whose retained message is still to be removed.
    removals: VecDeque<String>,
    /// Topics whose removal was sent and has not come back as a message yet.
    removed: HashSet<String>,
}

/// Whether a subscriber has seen all that it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Goes,
    Done,
}

impl Subscriber {
    pub(crate) fn new(plan: Plan, properties: Properties, printer: Printer) -> Self {
        Self {
            plan,
            properties,
            printer,
            printed: 0,
            unanswered: 0,
            unanswered_subscriptions: 0,
            refused: false,
            granted: false,
            removals: VecDeque::new(),
            removed: HashSet::new(),
        }
    }

    /// Runs to the end of the plan, or until something goes wrong.
    pub(crate) fn run_to_end(&mut self, driver: &mut Driver) -> Result<(), ClientError> {
        let (retry, deadline) = (self.plan.retry, self.plan.deadline);
        let outcome = reconnect::run(self, driver, retry, deadline);
        let outcome = outcome.and(self.printer.flush());
        if outcome == Err(ClientError::OutputClosed) {
            // Messages that nobody read stay with the broker.
            driver.session().discard_outbound();
        }
        driver.close(&self.properties.disconnect);
        outcome
    }

    fn subscribe(&mut self, driver: &mut Driver) -> Result<(), ClientError> {
        let now = Instant::now();
        let (plan, properties) = (&self.plan, &self.properties);
        // As few packets as possible: one for each stream.
        let size = if plan.data_streams { 1 } else { plan.filters.len().max(1) };
        (self.unanswered, self.granted) = (0, false);
        for filters in plan.filters.chunks(size) {
            if plan.data_streams {
                let stream = driver.open_data_stream()?;
                driver.session().ask_on(stream);
            }
            driver.session().subscribe(filters, plan.options, &properties.subscribe, now);
            self.unanswered += 1;
        }
        self.unanswered_subscriptions = self.unanswered;
        driver.session().ask_on(CONTROL);
        if !plan.unsubscribe.is_empty() {
            driver.session().unsubscribe(&plan.unsubscribe, &properties.unsubscribe, now);
            self.unanswered += 1;
        }
        Ok(())
    }

    fn handle_event(&mut self, event: Event, driver: &mut Driver) -> Result<Progress, ClientError> {
        match event {
            Event::Message(message) => self.handle_message(&message, driver),
            Event::Subscribed { results, reason_string } => {
                self.report(driver, "subscription to", &results, reason_string.as_deref());
                self.granted |= results.iter().any(|(_, code)| !reason::is_failure(*code));
                self.unanswered_subscriptions = self.unanswered_subscriptions.saturating_sub(1);
                if !self.granted && self.unanswered_subscriptions == 0 {
                    let text = "the broker refused every subscription";
                    return Err(ClientError::Refused(text.to_owned()));
                }
                self.handle_answer()
            }
            Event::Unsubscribed { results, reason_string } => {
                self.report(driver, "unsubscribing from", &results, reason_string.as_deref());
                self.handle_answer()
            }
            Event::Published { topic, answer } if reason::is_failure(answer.reason_code) => {
                let results = [(topic, answer.reason_code)];
                let reason_string = answer.reason_string.as_deref();
                self.report(driver, "removing the retained message on", &results, reason_string);
                Ok(Progress::Goes)
            }
            _ => Ok(Progress::Goes),
        }
    }

    /// Handles a SUBACK or UNSUBACK, which may be all that was wanted.
    fn handle_answer(&mut self) -> Result<Progress, ClientError> {
        self.unanswered = self.unanswered.saturating_sub(1);
        if !self.plan.exit_after_subscribe || self.unanswered > 0 {
            return Ok(Progress::Goes);
        }
        if self.refused {
            let text = "the broker refused a part of what was asked";
            return Err(ClientError::Refused(text.to_owned()));
        }
        Ok(Progress::Done)
    }

    fn report(
        &mut self,
        driver: &Driver,
        what: &str,
        results: &[(String, ReasonCode)],
        reason_string: Option<&str>,
    ) {
        for (name, reason_code) in results {
            if reason::is_failure(*reason_code) {
                self.refused = true;
                let reason = reason::describe(*reason_code, reason_string);
                driver.terminal().warning(&format!("{what} '{name}' refused: {reason}"));
            }
        }
    }

    fn handle_message(
        &mut self,
        message: &Message,
        driver: &Driver,
    ) -> Result<Progress, ClientError> {
        let plan = &self.plan;
        if plan.retained_only && !message.retain {
            return Ok(self.handle_fresh_message(message));
        }
        if plan.filters_out(&message.topic) {
            return Ok(Progress::Goes);
        }
        if plan.remove_retained && message.retain {
            self.removals.push_back(message.topic.clone());
        }
        if plan.no_retained && message.retain {
            return Ok(Progress::Goes);
        }
        self.printer.print(message, driver.terminal())?;
        self.printed += 1;
        let is_last = plan.count.is_some_and(|count| self.printed >= count);
        Ok(if is_last { Progress::Done } else { Progress::Goes })
    }

    /// Handles a fresh message with `--retained-only`: it is the end, unless it is the echo of a
    /// removal and more of these are to come.
    fn handle_fresh_message(&mut self, message: &Message) -> Progress {
        let is_echo = self.removed.remove(&message.topic) && message.payload.is_empty();
        let more_to_come = !self.removals.is_empty() || !self.removed.is_empty();
        if is_echo && more_to_come { Progress::Goes } else { Progress::Done }
    }

    /// Removes as many retained messages as may be in flight.
    fn remove_retained(&mut self, driver: &mut Driver) -> Result<(), ClientError> {
        let qos = driver.session().supported_qos(QoS::AtLeastOnce);
        while driver.can_publish(qos)
            && let Some(topic) = self.removals.pop_front()
        {
            let publication = Publication {
                topic: topic.as_str().into(),
                payload: Rc::default(),
                qos,
                retain: true,
                properties: Rc::default(),
            };
            driver.publish(&publication)?;
            self.removed.insert(topic);
        }
        Ok(())
    }

    /// Ends as the user asked: completes what is under way and takes nothing new.
    fn end(&mut self, driver: &mut Driver) -> Result<(), ClientError> {
        self.printer.flush()?;
        driver.settle();
        while !self.removals.is_empty() {
            self.remove_retained(driver)?;
            driver.settle();
            if driver.session().in_flight() > 0 {
                let text = "the broker did not confirm that all retained messages are removed";
                return Err(ClientError::Refused(text.to_owned()));
            }
        }
        Ok(())
    }
}

impl Course for Subscriber {
    /// Runs one connection, beginning with its SUBSCRIBE.
    fn run(&mut self, driver: &mut Driver) -> Result<(), ClientError> {
        self.subscribe(driver)?;
        loop {
            let event = match driver.ready_event()? {
                Some(event) => event,
                None => {
                    self.printer.flush()?;
                    match driver.wait(self.plan.deadline)? {
                        Wake::Event(event) => event,
                        Wake::Deadline => return Err(self.timed_out(driver)),
                        Wake::Sent | Wake::Woken => continue,
                    }
                }
            };
            // Messages may come so fast that there is never a wait.
            if self.plan.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(self.timed_out(driver));
            }
            let progress = self.handle_event(event, driver)?;
            self.remove_retained(driver)?;
            if progress == Progress::Done {
                return self.end(driver);
            }
        }
    }

    fn pause(&mut self) -> Result<(), ClientError> {
        self.printer.flush()
    }

    fn timed_out(&self, _driver: &mut Driver) -> ClientError {
        ClientError::TimedOut(format!(
            "the time is over: {} within {} s",
            counted(self.printed, "message"),
            self.plan.timeout.as_secs_f64()
        ))
    }
}
