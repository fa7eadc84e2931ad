//! Texts with a form of their own in the keys of listeners: Web origins, networks, paths of URLs,
//! permissions, accounts.
//!
//! Each function reads one text; its error continues a sentence that begins with the key.

use std::net::IpAddr;

use ipnet::IpNet;

use super::complaint::Complaint;

/// Reads a Web origin as browsers send it (RFC 6454): `https://example.org`,
/// `http://localhost:8080`.
pub(crate) fn origin(text: &str) -> Result<String, Complaint> {
    let complain = |help: String| {
        Err(Complaint::new(format!("has {text:?}, which is no Web origin")).help(help))
    };
    if text == "*" {
        return complain("an empty list lets pages of any origin connect".to_string());
    }
    let Some((scheme, host)) = text.split_once("://") else {
        return complain(format!("it begins with a scheme: \"https://{text}\""));
    };
    if let Some((host, _)) = host.split_once('/') {
        return complain(format!("it has no path: \"{scheme}://{host}\""));
    }
    let is_scheme = |char: char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.');
    let is_host = |char: char| char.is_ascii_graphic() && !matches!(char, '?' | '#' | '@' | ',');
    if scheme.is_empty() || !scheme.chars().all(is_scheme) {
        return complain("such as \"https://example.org\"".to_string());
    }
    if host.is_empty() || !host.chars().all(is_host) {
        return complain("such as \"https://example.org\"".to_string());
    }
    let origin = text.to_ascii_lowercase();
    for (scheme, port) in [("https://", ":443"), ("http://", ":80")] {
        if let Some(short) = origin.strip_suffix(port)
            && origin.starts_with(scheme)
        {
            return complain(format!("browsers leave this port out: \"{short}\""));
        }
    }
    Ok(origin)
}

/// Reads a network such as `10.0.0.0/8` or `fd00::/8`; an address alone is a network of one.
pub(crate) fn network(text: &str) -> Result<IpNet, Complaint> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        // IPv4 addresses are compared as IPv4, so this network would never match.
        Ok(IpNet::V6(network)) if network.addr().to_ipv4_mapped().is_some() => {
            let message = format!("has {text:?}, an IPv4 network in the form of IPv6");
            Err(Complaint::new(message).help("write it as IPv4, such as \"10.0.0.0/8\""))
        }
        Ok(network) => Ok(network),
        Err(_) => Err(Complaint::new(format!("has {text:?}, which is no network"))
            .help("such as \"10.0.0.0/8\", \"fd00::/8\" or one address, \"10.1.2.3\"")),
    }
}

/// Checks the path of a URL, which must be without a query.
pub(crate) fn url_path(text: &str) -> Result<(), Complaint> {
    if !text.starts_with('/') {
        let help = format!("write \"/{text}\"");
        return Err(Complaint::new(format!("must begin with a slash, but is {text:?}")).help(help));
    }
    match text.chars().find(|char| !char.is_ascii_graphic() || matches!(char, '?' | '#')) {
        Some(char) => Err(Complaint::new(format!("has {char:?}, which no path of a URL has"))),
        None => Ok(()),
    }
}

/// Reads the permissions of a file: three octal digits, with or without a zero before them.
pub(crate) fn mode(text: &str) -> Result<u32, Complaint> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = (3..=4).contains(&digits.len())
        && digits.chars().all(|char| char.is_digit(8))
        && (digits.len() == 3 || digits.starts_with('0'));
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if is_octal => Ok(mode),
        _ => Err(Complaint::new(format!("must be three octal digits, but is {text:?}"))
            .help("\"0660\": its owner and its group may connect")),
    }
}

/// Checks the name or the number of a user or a group.
pub(crate) fn account(text: &str) -> Result<(), Complaint> {
    let is_possible = |char: char| !char.is_whitespace() && !char.is_control();
    let is_possible = |char| is_possible(char) && !matches!(char, ':' | '/' | ',');
    if text.is_empty() || !text.chars().all(is_possible) {
        return Err(Complaint::new(format!("must be a name or a number, but is {text:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{account, mode, network, origin, url_path};

    #[test]
    fn origins_are_as_browsers_send_them() {
        assert_eq!(origin("https://Example.org").unwrap(), "https://example.org");
        for good in ["http://localhost:8080", "http://[::1]:80", "capacitor://localhost"] {
            assert_eq!(origin(good).is_ok(), !good.ends_with(":80"), "{good}");
        }
        let help = |text: &str| origin(text).unwrap_err().help.unwrap_or_default();
        assert_eq!(help("example.org"), "it begins with a scheme: \"https://example.org\"");
        assert_eq!(help("https://a.b/"), "it has no path: \"https://a.b\"");
        assert_eq!(help("https://a.b:443"), "browsers leave this port out: \"https://a.b\"");
        assert!(help("*").contains("any origin"));
        for bad in ["://a", "https://", "ht tp://a", "https://a b", "https://u@a"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_and_single_addresses() {
        assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        assert_eq!(network("fd00::1").unwrap().to_string(), "fd00::1/128");
        for bad in ["", "10.0.0.0/33", "proxy.example.org", "::ffff:10.0.0.0/104"] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_of_urls() {
        for good in ["/", "/mqtt", "/a/b-c_d.%20~"] {
            assert!(url_path(good).is_ok(), "{good}");
        }
        for bad in ["", "mqtt", "/a b", "/a?b", "/a#b", "/\u{fc}"] {
            assert!(url_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modes_are_octal() {
        for (text, value) in [("0660", 0o660), ("660", 0o660), ("0o600", 0o600), ("0777", 0o777)] {
            assert_eq!(mode(text).unwrap(), value, "{text}");
        }
        for bad in ["", "66", "0680", "1777", "0x1ff", "+660", "rw-rw----", "00660"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn accounts() {
        assert!(account("midge").is_ok() && account("1000").is_ok());
        assert!(account("").is_err() && account("a b").is_err() && account("a:b").is_err());
    }
}
