//! Data streams whose Client does not keep up: each one delays only itself.

use midge_codec::{Connect, ReasonCode};
use midge_core::{DropReason, Limits, MemoryPressure};

use crate::data_streams::{Scene, texts};
use crate::node::{Setup, scenario, scenario_with};
use crate::packets::{connect, options, persistent, retained};

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[test]
fn messages_of_qos_1_pass_those_of_a_stream_that_is_not_read() {
    for packet in [connect("s"), persistent("s")] {
        let setup = Setup {
            has_store: packet.properties.session_expiry_interval.is_some(),
            ..Setup::default()
        };
        scenario_with(setup, |node| {
            let scene = Scene::new(node, &packet);
            node.subscribe(scene.control, "c", 1);
            node.subscribe(scene.first, "f", 1);
            node.subscribe(scene.second, "s", 2);
            node.set_room(scene.first, 0);
            for text in numbers(100) {
                node.publish(scene.publisher, "f", &text, 1);
            }
            for text in numbers(50) {
                node.publish(scene.publisher, "s", &text, 1);
                node.publish(scene.publisher, "c", &text, 1);
            }
            assert_eq!(node.texts(scene.second), numbers(50));
            assert_eq!(node.texts(scene.control), numbers(50));
            for text in numbers(5) {
                node.publish(scene.publisher, "s", &text, 2);
            }
            assert_eq!(node.texts(scene.second), numbers(5));
            node.set_room(scene.first, usize::MAX);
            assert_eq!(node.texts(scene.first), numbers(100));
            assert_eq!(node.all_dropped(), []);
        });
    }
}

#[test]
fn a_control_stream_that_is_not_read_holds_up_no_data_stream() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        node.subscribe(scene.control, "c", 1);
        node.subscribe(scene.first, "f", 1);
        node.set_room(scene.control, 0);
        for text in numbers(60) {
            node.publish(scene.publisher, "c", &text, 1);
            node.publish(scene.publisher, "f", &text, 1);
        }
        assert_eq!(node.texts(scene.first), numbers(60));
        node.set_room(scene.control, usize::MAX);
        assert_eq!(node.texts(scene.control), numbers(60));
    });
}

#[test]
fn a_window_of_one_message_is_no_dead_end() {
    scenario(|node| {
        let mut packet = connect("s");
        packet.properties.receive_maximum = std::num::NonZeroU16::new(1);
        let scene = Scene::new(node, &packet);
        node.subscribe(scene.first, "f", 1);
        node.subscribe(scene.second, "s", 1);
        for text in numbers(20) {
            node.publish(scene.publisher, "f", &text, 1);
            node.publish(scene.publisher, "s", &text, 1);
        }
        let [control, first, second] = scene.texts(node);
        assert_eq!((control, first, second), (vec![], numbers(20), numbers(20)));
    });
}

#[test]
fn what_waits_for_a_stream_goes_where_its_subscription_goes() {
    let limits = Limits { inflight_messages_max: 32, ..Limits::default() };
    scenario_with(Setup { limits, ..Setup::default() }, |node| {
        let scene = Scene::new(node, &connect("s"));
        node.subscribe(scene.first, "f", 1);
        node.acknowledge(scene.first, false);
        for text in numbers(40) {
            node.publish(scene.publisher, "f", &text, 1);
        }
        let [_, first, _] = scene.texts(node);
        assert!((1..32).contains(&first.len()), "some of the window is left: {first:?}");
        node.subscribe(scene.second, "f", 1);
        let [_, _, second] = scene.texts(node);
        assert_eq!([first, second].concat(), numbers(40));
    });
}

/// A setup in which the output is soon full.
fn narrow() -> Setup {
    let limits =
        Limits { output_bytes_max: 10_000, inflight_messages_max: 500, ..Limits::default() };
    Setup { limits, ..Setup::default() }
}

#[test]
fn the_output_of_a_data_stream_is_bounded() {
    scenario_with(narrow(), |node| {
        let scene = Scene::new(node, &connect("s"));
        node.subscribe(scene.control, "c", 1);
        node.subscribe(scene.first, "f", 1);
        node.set_room(scene.first, 0);
        let payload = "x".repeat(1_000);
        for _ in 0..100 {
            node.publish(scene.publisher, "f", &payload, 1);
            // The acknowledgement of this message makes the broker look at the queue.
            node.publish(scene.publisher, "c", "1", 1);
        }
        assert!(node.output_bytes(scene.first) < 12_000, "{}", node.output_bytes(scene.first));
        assert_eq!(node.texts(scene.control).len(), 100);
        node.set_room(scene.first, usize::MAX);
        assert_eq!(node.texts(scene.first).len(), 100);
    });
}

#[test]
fn retained_messages_wait_for_their_data_stream() {
    scenario_with(narrow(), |node| {
        let scene = Scene::new(node, &connect("s"));
        let payload = "x".repeat(1_000);
        for number in 0..50 {
            node.send_publish(scene.publisher, retained(&format!("f/{number}"), &payload));
        }
        node.send_publish(scene.publisher, retained("s", "goes on"));
        node.set_room(scene.first, 0);
        node.queue_subscribe(scene.first, &[("f/#", options(0))], None);
        node.subscribe(scene.second, "s", 0);
        assert_eq!(scene.texts(node), texts(&[], &[], &["goes on"]));
        node.set_room(scene.first, usize::MAX);
        assert_eq!(node.texts(scene.first).len(), 50);
        assert_eq!(node.dropped(DropReason::SlowConsumer), 0);
    });
}

#[test]
fn a_data_stream_that_must_not_be_read_keeps_the_connection_alive() {
    scenario(|node| {
        let packet = Connect { keep_alive_seconds: 10, ..connect("s") };
        let scene = Scene::new(node, &packet);
        let pressure = |node: &mut crate::node::Node, pressure| {
            for worker in 0..node.cores.len() {
                node.call(worker, |core, turn| core.set_memory_pressure(pressure, turn));
            }
        };
        pressure(node, MemoryPressure::Severe);
        node.publish(scene.first, "t", "1", 1);
        node.advance(16_000);
        assert!(!node.is_closed(scene.control), "nobody looks whether something has come");
        pressure(node, MemoryPressure::None);
        node.publish(scene.first, "t", "2", 1);
        assert!(!node.is_closed(scene.control));
        node.advance(31_000);
        assert!(node.is_closed(scene.control));
    });
}

#[test]
fn what_waits_for_data_streams_counts_when_memory_is_short() {
    scenario(|node| {
        let scene = Scene::new(node, &connect("s"));
        node.subscribe(scene.first, "f", 0);
        node.set_room(scene.first, 0);
        node.publish(scene.publisher, "f", &"x".repeat(10_000), 0);
        for worker in 0..node.cores.len() {
            let pressure = MemoryPressure::Critical;
            node.call(worker, |core, turn| {
                core.set_memory_pressure(pressure, turn);
                core.shed(5_000, &|_| 0, turn);
            });
        }
        assert_eq!(node.end_code(scene.control), Some(ReasonCode::QuotaExceeded));
        assert!(!node.is_closed(scene.publisher));
    });
}
