//! The command `midge serve`, which is also plain `midge`: a broker as a process.
//!
//! It joins the configuration, the log, the signals and the broker. A broker is started only if the
//! whole configuration is right; everything that a broker does is in the crate `midge-broker`.

mod access;
mod descriptors;
mod listeners;
mod reload;
mod signals;
mod start_message;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use midge_broker::{
    Access, Allocator, Broker, BrokerBuilder, ListenerSettings, StartError, Storage,
};

use crate::allocator::{allocated_bytes, give_back};
use crate::config::command::{EXIT_WRONG_CONFIGURATION, print_report};
use crate::config::{Configuration, Flags, Loaded, Sources};
use crate::logger;
use access::AccessFiles;
use listeners::{DefaultListeners, ShownListener};
use reload::{Reloader, Reloads};
use signals::{Request, Signals};
use start_message::StartMessage;

/// Start a broker; plain `midge` does the same.
///
/// Exit code 0: it was stopped by SIGTERM or SIGINT; 1: it could not start, or it has failed;
/// 2: the configuration is wrong.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    flags: Flags,
}

/// Runs a broker until a signal ends it.
pub(crate) fn run(args: &ServeArgs) -> ExitCode {
    let sources = Sources::of_process(&args.flags);
    let loaded = match sources.load() {
        Ok(loaded) => loaded,
        Err(report) => {
            print_report(&report, "; nothing was started");
            return ExitCode::from(EXIT_WRONG_CONFIGURATION);
        }
    };
    let configuration = &loaded.configuration;
    // Kept to the end, so that the last lines are written, too.
    let _log = match logger::install(configuration.log_level, configuration.log_format) {
        Ok(guard) => guard,
        Err(_) => return ExitCode::FAILURE, // there is nowhere to say it
    };
    // Before the broker exists, so that no signal is lost.
    let signals = match Signals::register() {
        Ok(signals) => signals,
        Err(error) => {
            log::error!("cannot wait for signals: {error}");
            return ExitCode::FAILURE;
        }
    };
    let default_listeners = DefaultListeners::default();
    let listeners = default_listeners.or_configured(configuration);
    let (files, access) = match AccessFiles::open(&configuration.access) {
        Ok(opened) => opened,
        Err(error) => {
            log::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match start(configuration, listeners, access, signals.failure()) {
        Ok(broker) => {
            let listeners: Vec<_> =
                broker.handle().listeners().iter().map(ShownListener::new).collect();
            announce(&listeners, &loaded, &sources);
            let reloader =
                Reloader::new(sources, broker.handle(), loaded.effective, default_listeners, files);
            let deadline = loaded.configuration.shutdown_deadline;
            match Reloads::start(reloader) {
                Ok(reloads) => serve(broker, &reloads, deadline, signals),
                Err(error) => {
                    log::error!("cannot start a thread for reloads: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start(
    configuration: &Configuration,
    listeners: Vec<ListenerSettings>,
    access: Access,
    on_failure: impl Fn(&str) + Send + Sync + 'static,
) -> Result<Broker, StartError> {
    let mut limits = configuration.limits.clone();
    descriptors::provide(&mut limits);
    let mut builder = Broker::builder()
        .limits(limits)
        .placement(configuration.placement)
        .topics(configuration.topics.clone())
        .shared_strategy(configuration.shared_strategy)
        .shared_backlog(configuration.shared_backlog)
        .response_prefix(configuration.response_prefix.clone())
        .own_topics_interval(configuration.own_topics_interval)
        .trace_client(configuration.trace_client.clone())
        .access(access)
        .allocator(Allocator { allocated_bytes, give_back });
    if let Some(workers) = configuration.workers {
        builder = builder.workers(workers);
    }
    for listener in listeners {
        builder = builder.listener(listener);
    }
    builder = builder.durability(configuration.durability);
    for (filter, durability) in &configuration.topic_durabilities {
        builder = builder.topic_durability(filter, *durability);
    }
    if let Some(storage) = &configuration.storage {
        builder = builder.storage(storage.clone());
    }
    builder.on_failure(on_failure).start()
}

fn announce(listeners: &[ShownListener], loaded: &Loaded, sources: &Sources) {
    let configuration = &loaded.configuration;
    let message = StartMessage {
        listeners,
        file: sources.path(),
        listens_by_file: loaded.listens_by_file(),
        is_found: sources.is_found(),
        data: configuration.storage.as_ref().and_then(Storage::directory),
        users: configuration.access.users(),
        workers: loaded.configuration.workers,
        workers_default: BrokerBuilder::workers_default(),
    };
    logger::announce(&message.lines());
}

fn serve(broker: Broker, reloads: &Reloads, deadline: Duration, mut signals: Signals) -> ExitCode {
    loop {
        match signals.wait() {
            Request::Reload => reloads.request(),
            // The log has said why.
            Request::Fail => return ExitCode::FAILURE,
            Request::End(signal) => {
                // This comes first: everything else may hang, even logging a line.
                let armed = signals.arm();
                let seconds = deadline.as_secs();
                log::info!("{signal}: ending within {seconds} s; a second signal ends at once");
                if let Err(error) = armed {
                    log::warn!("a second signal will not end the broker at once: {error}");
                }
                break;
            }
        }
    }
    broker.stop(deadline);
    log::info!("ended");
    ExitCode::SUCCESS
}
