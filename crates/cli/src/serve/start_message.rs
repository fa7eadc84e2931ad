//! What a broker says when it has started: where it is, what it works with, what to do next.

use std::path::Path;

use super::listeners::ShownListener;
use crate::config::{Users, printable};
use crate::logger::StartLine;

/// The lines that a broker starts with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartMessage<'m> {
    pub(crate) listeners: &'m [ShownListener],
    /// The configuration file.
    pub(crate) file: Option<&'m Path>,
    /// Whether the file (and not a flag or variable) says where the broker listens.
    pub(crate) listens_by_file: bool,
    /// Whether the file was found at one of the usual places, rather than named.
    pub(crate) is_found: bool,
    /// The data directory; `None`: nothing is kept on disk.
    pub(crate) data: Option<&'m Path>,
    pub(crate) users: Users,
    /// `None`: one for each processor.
    pub(crate) workers: Option<usize>,
    pub(crate) workers_default: usize,
}

impl StartMessage<'_> {
    /// Returns all lines, from the top down.
    pub(crate) fn lines(&self) -> Vec<StartLine> {
        let version = env!("CARGO_PKG_VERSION");
        let title = format!("Midge {version}, a broker for MQTT 3.1, 3.1.1 and 5.0");
        let mut lines = vec![StartLine::title(title)];
        lines.extend(self.listeners.iter().map(|listener| {
            StartLine::of_listener("listens on", listener.to_string(), listener.address.clone())
        }));
        lines.extend(self.advice().into_iter().map(|advice| StartLine::new("", advice)));
        // Someone who has only the program has no other pages.
        let documentation = "midge --help, midge config reference".to_string();
        lines.extend([
            StartLine::new("configuration", self.configuration()),
            StartLine::new("data", self.data()),
            StartLine::new("workers", self.workers()),
            StartLine::new("documentation", documentation),
        ]);
        lines
    }

    /// Says who can connect, and what to do about it.
    fn advice(&self) -> Vec<String> {
        let named = |listeners: &[&ShownListener]| {
            let urls: Vec<_> = listeners.iter().map(ToString::to_string).collect();
            urls.join(", ")
        };
        let reachable: Vec<_> =
            self.listeners.iter().filter(|listener| !listener.is_local).collect();
        let is_open = |listener: &&&ShownListener| !listener.needs_certificate;
        let open: Vec<_> = reachable.iter().filter(is_open).copied().collect();
        let mut lines = Vec::new();
        if reachable.is_empty() {
            // If the file says where, --listen would replace all of it.
            let open = match self.listens_by_file {
                false => format!("--listen 0.0.0.0:{}", self.port()),
                true => "bind = \"0.0.0.0:PORT\" in a [[listener]]".to_string(),
            };
            let users = match self.users {
                Users::Known => "",
                Users::Anybody => " and users (midge passwd --help)",
            };
            lines.push(format!("only this machine can connect; for others too: {open}{users}"));
        } else if self.users == Users::Known {
            lines.push("only users with their passwords can connect".to_string());
        } else if open.is_empty() {
            lines.push("only this machine and those with a certificate can connect".to_string());
        } else if self.listeners.len() == 1 {
            lines.push("whoever reaches it can connect: anonymous = true".to_string());
        } else {
            let open = named(&open);
            lines.push(format!("whoever reaches {open} can connect: anonymous = true"));
        }
        let believing = self.listeners.iter().filter(|listener| listener.believes_all_proxies);
        let believing: Vec<_> = believing.collect();
        if !believing.is_empty() {
            let believing = named(&believing);
            lines.push(format!(
                "whoever reaches {believing} can pretend to be a proxy: set proxy_protocol_from"
            ));
        }
        lines
    }

    /// Returns the port of the first listener that has one.
    fn port(&self) -> u16 {
        let port = |listener: &ShownListener| listener.address.rsplit(':').next()?.parse().ok();
        self.listeners.iter().find_map(port).unwrap_or(1883)
    }

    fn configuration(&self) -> String {
        match self.file {
            Some(file) => {
                let found = if self.is_found { " (in the current directory)" } else { "" };
                format!("{}{found}", printable(&file.display().to_string()))
            }
            None => "the defaults, without a file".to_string(),
        }
    }

    fn data(&self) -> String {
        match self.data {
            Some(data) => printable(&data.display().to_string()),
            None => "in memory: it is gone when the broker ends".to_string(),
        }
    }

    fn workers(&self) -> String {
        match self.workers {
            Some(workers) => workers.to_string(),
            None => format!("{}, one for each processor", self.workers_default),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use midge_net::{Listen, ProxyMode, TlsOptions};

    use super::{ShownListener, StartMessage};
    use crate::config::Users;

    fn listener(address: &str) -> ShownListener {
        ShownListener::of(&Listen::new(address), Some(address.parse().unwrap()))
    }

    fn with_client_certificates(address: &str) -> ShownListener {
        let tls = TlsOptions::new("server.pem", "server.key").client_ca("ca.pem");
        ShownListener::of(&Listen::new(address).tls(tls), Some(address.parse().unwrap()))
    }

    fn text(message: &StartMessage<'_>) -> String {
        crate::logger::start_text(&message.lines()).join("\n") + "\n"
    }

    fn advice(listeners: &[ShownListener]) -> Vec<String> {
        let (file, data) = (None, None);
        let (listens_by_file, is_found) = (false, false);
        let (workers, workers_default) = (None, 1);
        StartMessage {
            listeners,
            file,
            listens_by_file,
            is_found,
            data,
            users: Users::Anybody,
            workers,
            workers_default,
        }
        .advice()
    }

    #[test]
    fn who_can_connect_is_said() {
        let unix = ShownListener::of(&Listen::new("unix:midge.sock"), None);
        let local = listener("127.0.0.1:1883");
        assert!(advice(&[unix, local])[0].starts_with("only this machine can connect"));

        let safe = with_client_certificates("0.0.0.0:8883");
        let expected = "only this machine and those with a certificate can connect";
        assert_eq!(advice(&[safe.clone(), listener("[::1]:1883")]), [expected]);

        let one = "whoever reaches mqtt://0.0.0.0:1883 can connect: anonymous = true";
        let open = listener("0.0.0.0:1883");
        assert_eq!(advice(&[safe, open.clone()]), [one]);
        assert_eq!(advice(&[open.clone(), listener("127.0.0.1:1884")]), [one]);
        let both = advice(&[open, listener("[::]:1884")]);
        assert!(both[0].contains("mqtt://0.0.0.0:1883, mqtt://[::]:1884 can connect"), "{both:?}");
    }

    #[test]
    fn the_advice_names_the_port_that_was_chosen() {
        let unix = ShownListener::of(&Listen::new("unix:midge.sock"), None);
        let said = advice(&[unix, listener("127.0.0.1:1893")]);
        assert!(said[0].contains("--listen 0.0.0.0:1893 and users"), "{said:?}");
    }

    #[test]
    fn a_listener_that_believes_every_proxy_is_named() {
        let mut listen = Listen::new("0.0.0.0:1883");
        listen.proxy.mode = ProxyMode::Optional;
        let listener = ShownListener::of(&listen, "0.0.0.0:1883".parse().ok());
        let expected = "whoever reaches mqtt://0.0.0.0:1883 can pretend to be a proxy: set \
                        proxy_protocol_from";
        assert_eq!(advice(&[listener])[1], expected);
    }

    #[test]
    fn a_newcomer_learns_where_everything_is() {
        let listeners = [listener("127.0.0.1:1883"), listener("[::1]:1883")];
        let message = StartMessage {
            users: Users::Anybody,
            listeners: &listeners,
            file: None,
            listens_by_file: false,
            is_found: false,
            data: None,
            workers: None,
            workers_default: 4,
        };
        assert_eq!(
            text(&message),
            format!(
                "Midge {}, a broker for MQTT 3.1, 3.1.1 and 5.0\n\
                 \x20 listens on     mqtt://127.0.0.1:1883\n\
                 \x20                mqtt://[::1]:1883\n\
                 \x20                only this machine can connect; for others too: \
                 --listen 0.0.0.0:1883 and users (midge passwd --help)\n\
                 \x20 configuration  the defaults, without a file\n\
                 \x20 data           in memory: it is gone when the broker ends\n\
                 \x20 workers        4, one for each processor\n\
                 \x20 documentation  midge --help, midge config reference\n",
                env!("CARGO_PKG_VERSION")
            )
        );
    }

    #[test]
    fn an_operator_learns_what_is_open_and_which_file_was_read() {
        let listeners = [listener("0.0.0.0:1883"), listener("[::1]:1883")];
        let file = Some(Path::new("midge.toml"));
        let message = StartMessage {
            users: Users::Anybody,
            listeners: &listeners,
            file,
            listens_by_file: true,
            is_found: true,
            data: Some(Path::new("/var/lib/midge")),
            workers: Some(2),
            workers_default: 4,
        };
        let text = text(&message);
        assert!(text.contains("0.0.0.0:1883 can connect: anonymous = true"), "{text}");
        assert!(text.contains("midge.toml (in the current directory)"), "{text}");
        assert!(text.contains("  data           /var/lib/midge\n"), "{text}");
        assert!(text.contains("  workers        2\n"), "{text}");
    }
}
