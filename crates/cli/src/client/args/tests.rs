//! Command lines and the setup that they ask for.

use clap::Parser;

use super::*;

#[derive(Parser)]
#[command(disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    connect: ConnectArgs,
}

fn resolve(line: &str) -> Result<Setup, String> {
    let words = std::iter::once("midge").chain(line.split_whitespace());
    let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
    line.connect.resolve().map_err(|error| {
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    })
}

#[test]
fn connects_to_this_machine_with_mqtt_5_when_nothing_is_said() {
    let setup = resolve("").unwrap();
    assert_eq!(setup.endpoint.to_string(), "localhost:1883");
    assert_eq!(setup.options.version, ProtocolVersion::V5);
    assert_eq!(setup.options.client_id, "");
    assert!(setup.options.clean_start);
    assert_eq!(setup.options.properties.number("session-expiry-interval"), None);
    assert_eq!(setup.deadline, None);
}

#[test]
fn takes_everything_from_a_url_but_what_is_given_beside_it() {
    let setup = resolve("-L mqtt://u:p@h:1884/a/# -u other").unwrap();
    assert_eq!(setup.endpoint.to_string(), "h:1884");
    assert_eq!(setup.options.user_name.as_deref(), Some("other"));
    assert_eq!(setup.options.password, Some(Secret::new("p")));
    assert_eq!(setup.url_topic.as_deref(), Some("a/#"));
}

#[test]
fn reads_versions_in_all_spellings() {
    for (text, version) in [
        ("5", ProtocolVersion::V5),
        ("mqttv5", ProtocolVersion::V5),
        ("311", ProtocolVersion::V3_1_1),
        ("mqttv311", ProtocolVersion::V3_1_1),
        ("31", ProtocolVersion::V3_1),
        ("mqttv31", ProtocolVersion::V3_1),
    ] {
        assert_eq!(resolve(&format!("-V {text}")).unwrap().options.version, version);
    }
}

#[test]
fn names_the_client_itself_before_mqtt_5() {
    let client_id = resolve("-V 31").unwrap().options.client_id;
    assert!(client_id.starts_with("midge-") && client_id.len() <= 23, "{client_id}");
    let client_id = resolve("-I pre-").unwrap().options.client_id;
    assert_eq!(client_id, format!("pre-{}", std::process::id()));
}

#[test]
fn keeps_a_session_as_long_as_asked() {
    for (line, expected) in [
        ("-c -i a", Some(u32::MAX)),
        ("-c -i a -x 10", Some(10)),
        ("-c -i a -D connect session-expiry-interval 20", Some(20)),
        ("-x 0", Some(0)),
        ("-x -1 -i a", Some(u32::MAX)),
        ("-x ∞ -i a", Some(u32::MAX)),
    ] {
        let options = resolve(line).unwrap().options;
        assert_eq!(options.properties.number("session-expiry-interval"), expected, "{line}");
    }
    let options = resolve("-c -i a -V 311").unwrap().options;
    assert!(!options.clean_start && options.properties.is_empty());
}

#[test]
fn takes_properties_between_other_arguments() {
    let setup = resolve(
        "-D publish user-property a b -i id -D connect user-property c d \
         -D will content-type x --will-topic w --will-qos 1 --will-retain",
    )
    .unwrap();
    assert_eq!(setup.properties.publish.user_properties().iter().count(), 1);
    assert_eq!(setup.options.properties.user_properties().iter().count(), 1);
    let will = setup.options.will.unwrap();
    assert_eq!((will.topic.as_str(), will.qos, will.retain), ("w", QoS::AtLeastOnce, true));
    assert_eq!(will.properties.text("content-type"), Some("x"));
}

#[test]
fn says_what_contradicts_what() {
    for (line, part) in [
        ("-c", "-i ID"),
        ("-x -1", "-i ID"),
        ("-x 1 -D connect session-expiry-interval 2", "twice"),
        ("-V 311 -D publish content-type a", "-D needs MQTT 5.0"),
        ("-V 311 -x 3", "-x needs MQTT 5.0"),
        ("-V 311 -P secret", "a password without -u"),
        ("-V 4", "versions"),
        ("-L http://h", "not a scheme of MQTT"),
        ("-L mqtt://h --insecure", "write mqtts:// instead"),
        ("--cert a", "--key"),
        ("-L mqtt://h -p 1", "cannot be used with"),
        ("-D will content-type a", "--will-topic"),
        ("--will-topic a/+", "'a/+'"),
        ("--will-qos 1", "--will-topic"),
        ("--will-topic a --will-qos 3", "QoS is 0, 1 or 2"),
        ("-i a -I b", "cannot be used with"),
        ("-W soon", "number of seconds"),
        ("-p 0", "1..=65535"),
    ] {
        let error = resolve(line).err().unwrap();
        assert!(error.contains(part), "{line}: {error}");
    }
}
