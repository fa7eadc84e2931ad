//! What `midge pub` does once its arguments are read: it publishes what the source has, over as
//! many connections as it takes, and counts what the broker refuses.
//!
//! It takes a message from the source only if it can hand it to the session, which keeps the
//! message until the broker has it.

use std::time::Instant;

use midge_core::counted;

use super::driver::{Driver, Wake};
use super::error::ClientError;
use super::reason;
use super::reconnect::Course;
use super::session::{Answer, Event};
use super::source::{Next, Source};

/// A publisher under way.
pub(crate) struct Publisher {
    source: Source,
    deadline: Option<Instant>,
    data_streams: bool,
    refused: u64,
}

impl Publisher {
    pub(crate) fn new(source: Source, deadline: Option<Instant>, data_streams: bool) -> Self {
        Self { source, deadline, data_streams, refused: 0 }
    }

    /// Turns `outcome` into the result of the command, and warns of messages that are not
    /// acknowledged.
    pub(crate) fn finish(
        &self,
        outcome: Result<(), ClientError>,
        driver: &mut Driver,
    ) -> Result<(), ClientError> {
        let left = driver.session().in_flight();
        let is_told = matches!(&outcome, Ok(()) | Err(ClientError::TimedOut(_)));
        if left > 0 && !is_told {
            let text = format!("{} not acknowledged", counted(left, "message"));
            driver.terminal().warning(&text);
        }
        outcome?;
        match self.refused {
            0 => Ok(()),
            refused => {
                let messages = counted(refused, "message");
                Err(ClientError::Refused(format!("the broker refused {messages}")))
            }
        }
    }

    /// Publishes as much as the broker takes now, and returns what the rest waits for.
    fn feed(&mut self, driver: &mut Driver) -> Result<Next, ClientError> {
        while driver.can_publish(self.source.qos()) {
            match self.source.next(driver.is_settled(), Instant::now())? {
                Next::Message(publication) => driver.publish(&publication)?,
                other => return Ok(other),
            }
        }
        Ok(Next::Pending)
    }
}

impl Course for Publisher {
    /// Publishes everything that the source has, and waits until it is sent and acknowledged.
    fn run(&mut self, driver: &mut Driver) -> Result<(), ClientError> {
        if self.data_streams {
            let stream = driver.open_data_stream()?;
            driver.session().ask_on(stream);
        }
        loop {
            // Events that have arrived come first: the end of the connection may be among them.
            while let Some(event) = driver.ready_event()? {
                if let Event::Published { topic, answer } = event {
                    self.refused += u64::from(report(driver, &topic, &answer));
                }
            }
            let pause = match self.feed(driver)? {
                Next::End if driver.is_settled() => return Ok(()),
                Next::At(time) => Some(time),
                _ => None,
            };
            let until = [self.deadline, pause].into_iter().flatten().min();
            match driver.wait(until)? {
                Wake::Event(Event::Published { topic, answer }) => {
                    self.refused += u64::from(report(driver, &topic, &answer));
                }
                Wake::Deadline if self.deadline.is_some_and(|time| time <= Instant::now()) => {
                    return Err(self.timed_out(driver));
                }
                _ => {}
            }
        }
    }

    fn pause(&mut self) -> Result<(), ClientError> {
        Ok(())
    }

    fn timed_out(&self, driver: &mut Driver) -> ClientError {
        let left = counted(driver.session().in_flight(), "message");
        ClientError::TimedOut(format!("not finished in time: {left} not acknowledged"))
    }
}

/// Warns of a message that was refused. Returns whether it was.
fn report(driver: &Driver, topic: &str, answer: &Answer) -> bool {
    let failed = reason::is_failure(answer.reason_code);
    if failed {
        let reason = reason::describe(answer.reason_code, answer.reason_string.as_deref());
        driver.terminal().warning(&format!("message to '{topic}' refused: {reason}"));
    }
    failed
}
