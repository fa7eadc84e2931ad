//! What MQTT 3.1.1 and 5.0 have in common, once for each of rumqttc's two clients.

/// The tests over one set of types, in a module of its name.
macro_rules! tests_over {
    ($version:ident) => {
        mod $version {
            use midge_client_tests_rumqttc::{
                unique,
                $version::{Client, QoS, options, options_with_will, topic_of},
            };

            const EACH_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

            async fn client() -> Client {
                Client::connect(options(None, false)).await
            }

            #[tokio::test]
            async fn messages_arrive_at_the_lower_qos() {
                let (mut subscriber, mut publisher) = (client().await, client().await);
                for published in EACH_QOS {
                    for granted in EACH_QOS {
                        let topic = unique("rumqttc/");
                        subscriber.subscribe(&topic, granted).await;
                        publisher.publish(&topic, published, false, "x").await;
                        let message = subscriber.receive().await;
                        assert_eq!(topic_of(&message), topic);
                        assert_eq!(message.qos as u8, (published as u8).min(granted as u8));
                    }
                }
            }

            #[tokio::test]
            async fn messages_arrive_once_and_in_order() {
                let (mut subscriber, mut publisher) = (client().await, client().await);
                for qos in EACH_QOS {
                    let topic = unique("rumqttc/");
                    subscriber.subscribe(&topic, qos).await;
                    let payloads: Vec<String> = (0..100).map(|number| number.to_string()).collect();
                    for payload in &payloads {
                        publisher.publish(&topic, qos, false, payload.as_bytes()).await;
                    }
                    publisher.publish(&topic, qos, false, "end").await;
                    let received = subscriber.receive_until("end").await;
                    assert!(
                        received
                            .iter()
                            .map(|m| &m.payload[..])
                            .eq(payloads.iter().map(String::as_bytes))
                    );
                }
            }

            #[tokio::test]
            async fn wildcards_match_what_they_say() {
                let (mut client, topic) = (client().await, unique("rumqttc/"));
                client.subscribe(format!("{topic}/+/c"), QoS::AtMostOnce).await;
                client.subscribe(format!("{topic}/d/#"), QoS::AtMostOnce).await;
                for name in ["a/c", "a/b/c", "/c", "d", "d/e/f", "c", "d/end"] {
                    let topic = format!("{topic}/{name}");
                    client.publish(&topic, QoS::AtMostOnce, false, name).await;
                }
                let received = client.receive_until("d/end").await;
                let names: Vec<_> = received.iter().map(|message| &message.payload[..]).collect();
                assert_eq!(names, [&b"a/c"[..], b"/c", b"d", b"d/e/f"]);
            }

            #[tokio::test]
            async fn large_and_empty_payloads_arrive() {
                let (mut subscriber, mut publisher) = (client().await, client().await);
                for qos in EACH_QOS {
                    let (topic, large) = (unique("rumqttc/"), vec![7; 900_000]);
                    subscriber.subscribe(&topic, qos).await;
                    publisher.publish(&topic, qos, false, large.clone()).await;
                    publisher.publish(&topic, qos, false, "").await;
                    assert_eq!(subscriber.receive().await.payload, large);
                    assert_eq!(subscriber.receive().await.payload, "");
                }
            }

            #[tokio::test]
            async fn a_retained_message_is_set_replaced_and_cleared() {
                let (mut publisher, topic) = (client().await, unique("rumqttc/"));
                for payload in ["old", "new"] {
                    publisher.publish(&topic, QoS::AtLeastOnce, true, payload).await;
                }
                let mut first = client().await;
                first.subscribe(&topic, QoS::ExactlyOnce).await;
                let message = first.receive().await;
                assert_eq!((&message.payload[..], message.retain), (&b"new"[..], true));
                publisher.publish(&topic, QoS::AtLeastOnce, true, "").await;
                let mut second = client().await;
                second.subscribe(&topic, QoS::ExactlyOnce).await;
                publisher.publish(&topic, QoS::AtLeastOnce, false, "end").await;
                assert!(second.receive_until("end").await.is_empty());
            }

            #[tokio::test]
            async fn a_will_is_sent_when_the_connection_is_cut() {
                let mut watcher = client().await;
                for qos in EACH_QOS {
                    let topic = unique("rumqttc/");
                    watcher.subscribe(&topic, QoS::ExactlyOnce).await;
                    drop(Client::connect(options_with_will(&topic, "gone", qos)).await);
                    let message = watcher.receive().await;
                    assert_eq!((&message.payload[..], message.qos), (&b"gone"[..], qos));
                }
            }

            #[tokio::test]
            async fn no_will_is_sent_after_disconnect() {
                let (mut watcher, topic) = (client().await, unique("rumqttc/"));
                watcher.subscribe(&topic, QoS::AtLeastOnce).await;
                let options_of_first = options_with_will(&topic, "gone", QoS::AtLeastOnce);
                let first = Client::connect(options_of_first).await;
                let id = first.id.clone();
                first.disconnect().await;
                // Once the identifier is connected again, the first connection is history.
                let mut second = Client::connect(options(Some(&id), false)).await;
                second.publish(&topic, QoS::AtLeastOnce, false, "end").await;
                assert!(watcher.receive_until("end").await.is_empty());
            }

            #[tokio::test]
            async fn queued_messages_arrive_on_resume() {
                for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
                    let topic = unique("rumqttc/");
                    let mut first = Client::connect(options(None, true)).await;
                    assert!(!first.session_present);
                    first.subscribe(&topic, QoS::ExactlyOnce).await;
                    let id = first.id.clone();
                    first.disconnect().await;
                    let mut publisher = client().await;
                    for number in 0..20 {
                        publisher.publish(&topic, qos, false, number.to_string()).await;
                    }
                    let mut second = Client::connect(options(Some(&id), true)).await;
                    assert!(second.session_present);
                    for number in 0..20 {
                        let message = second.receive().await;
                        assert_eq!(message.payload, number.to_string());
                        assert_eq!(message.qos, qos);
                    }
                }
            }

            #[tokio::test]
            async fn a_shared_subscription_splits_messages() {
                let topic = unique("rumqttc/");
                let (mut one, mut other) = (client().await, client().await);
                for member in [&mut one, &mut other] {
                    member.subscribe(format!("$share/group/{topic}"), QoS::AtLeastOnce).await;
                    member.subscribe(format!("{topic}/end"), QoS::AtLeastOnce).await;
                }
                let mut publisher = client().await;
                for number in 0..40 {
                    publisher.publish(&topic, QoS::AtLeastOnce, false, number.to_string()).await;
                }
                publisher.publish(&format!("{topic}/end"), QoS::AtLeastOnce, false, "end").await;
                let of_one = one.receive_until("end").await;
                let of_other = other.receive_until("end").await;
                assert!(!of_one.is_empty() && !of_other.is_empty(), "one member got nothing");
                let both = of_one.iter().chain(&of_other);
                let mut payloads: Vec<_> = both.map(|message| message.payload.clone()).collect();
                payloads.sort_by_key(|payload| (payload.len(), payload.clone()));
                assert!(payloads.into_iter().eq((0..40).map(|number: u32| number.to_string())));
            }

            #[tokio::test]
            async fn nothing_arrives_after_unsubscribe() {
                let (mut client, topic) = (client().await, unique("rumqttc/"));
                client.subscribe(format!("{topic}/#"), QoS::AtLeastOnce).await;
                client.subscribe(format!("{topic}/end"), QoS::AtLeastOnce).await;
                client.unsubscribe(format!("{topic}/#")).await;
                client.publish(&topic, QoS::AtLeastOnce, false, "x").await;
                client.publish(&format!("{topic}/end"), QoS::AtLeastOnce, false, "end").await;
                assert!(client.receive_until("end").await.is_empty());
            }

            #[tokio::test]
            async fn a_takeover_ends_the_first_connection() {
                let first = client().await;
                let second = Client::connect(options(Some(&first.id), false)).await;
                first.end().await;
                second.disconnect().await;
            }
        }
    };
}

tests_over!(v4);
tests_over!(v5);
