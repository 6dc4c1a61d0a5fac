//! The proxy itself: without a fault nothing changes, and each fault does what it says.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chat_e2e::proxy::{Faults, Frames, Proxy, Way};
use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

const MOMENT: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_secs(20);

/// A server that says everything back, and goodbye when it hears it.
async fn echo() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    Ok(port)
}

async fn connect(proxy: &Proxy) -> anyhow::Result<TcpStream> {
    Ok(TcpStream::connect(("127.0.0.1", proxy.port())).await?)
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|_| rand::random()).collect()
}

async fn say_and_hear(stream: &mut TcpStream, words: &[u8]) -> anyhow::Result<Vec<u8>> {
    stream.write_all(words).await?;
    let mut heard = vec![0; words.len()];
    timeout(SOON, stream.read_exact(&mut heard)).await??;
    Ok(heard)
}

#[tokio::test]
async fn without_a_fault_bytes_and_goodbyes_pass_untouched() -> anyhow::Result<()> {
    let server = echo().await?;
    for proxy in [Proxy::start(server).await?, Proxy::websocket(server).await?] {
        let words = noise(1_000_000);
        let stream = connect(&proxy).await?;
        let (mut from, mut to) = stream.into_split();
        let mut heard = Vec::new();
        let (said, read) = tokio::join!(
            async {
                to.write_all(&words).await?;
                to.shutdown().await
            },
            from.read_to_end(&mut heard)
        );
        said?;
        read?;
        ensure!(heard == words, "{} of {}", heard.len(), words.len());
    }
    Ok(())
}

#[tokio::test]
async fn latency_delays_and_jitter_keeps_the_order() -> anyhow::Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut stream = connect(&proxy).await?;
    proxy.set(Faults {
        latency: MOMENT,
        jitter: MOMENT,
        seed: 7,
        ..Faults::default()
    });
    let begun = Instant::now();
    let words = noise(100_000);
    ensure!(say_and_hear(&mut stream, &words).await? == words);
    ensure!(begun.elapsed() >= 2 * MOMENT, "{:?}", begun.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_rate_holds_bytes_back() -> anyhow::Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut stream = connect(&proxy).await?;
    proxy.set(Faults {
        rate: Some(50_000),
        ..Faults::default()
    });
    let begun = Instant::now();
    let words = noise(50_000);
    ensure!(say_and_hear(&mut stream, &words).await? == words);
    ensure!(begun.elapsed() >= Duration::from_millis(900));
    Ok(())
}

#[tokio::test]
async fn a_stalled_way_stands_still_until_it_heals() -> anyhow::Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    for stalled in [
        Faults::stall(Way::ToServer),
        Faults::stall(Way::ToClient),
        Faults::silence(),
    ] {
        let mut stream = connect(&proxy).await?;
        ensure!(say_and_hear(&mut stream, b"before").await? == b"before");
        proxy.set(stalled);
        stream.write_all(b"meanwhile").await?;
        let mut heard = [0; 9];
        let early = timeout(MOMENT, stream.read_exact(&mut heard)).await;
        ensure!(early.is_err(), "{early:?} came through");
        proxy.heal();
        timeout(SOON, stream.read_exact(&mut heard)).await??;
        ensure!(heard == *b"meanwhile");
    }
    Ok(())
}

#[tokio::test]
async fn a_cut_lets_so_many_bytes_pass_and_ends_the_connection() -> anyhow::Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut stream = connect(&proxy).await?;
    ensure!(say_and_hear(&mut stream, b"before").await? == b"before");
    proxy.set(Faults::cut(Way::ToClient, 3));
    stream.write_all(b"cut").await?;
    stream.write_all(b" off").await?;
    let mut heard = Vec::new();
    // The end is a goodbye or a reset.
    let _ = timeout(SOON, stream.read_to_end(&mut heard)).await?;
    ensure!(heard == b"cut", "{heard:?}");
    proxy.heal();
    let mut again = connect(&proxy).await?;
    ensure!(say_and_hear(&mut again, b"again").await? == b"again");
    Ok(())
}

#[tokio::test]
async fn a_reset_ends_what_is_open_and_nothing_else() -> anyhow::Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut stream = connect(&proxy).await?;
    ensure!(say_and_hear(&mut stream, b"before").await? == b"before");
    proxy.reset();
    let mut heard = [0; 1];
    let ended = timeout(SOON, stream.read(&mut heard)).await?;
    let error = ended.err().context("no error")?;
    ensure!(error.kind() == ErrorKind::ConnectionReset, "{error}");
    let mut again = connect(&proxy).await?;
    ensure!(say_and_hear(&mut again, b"again").await? == b"again");
    Ok(())
}

#[tokio::test]
async fn whoever_is_refused_finds_nobody_and_who_is_there_stays() -> anyhow::Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut stream = connect(&proxy).await?;
    ensure!(say_and_hear(&mut stream, b"before").await? == b"before");
    proxy.set(Faults::refuse());
    chat_e2e::await_until("a refusal", SOON, async || {
        Ok(connect(&proxy).await.err().map(|_| ()))
    })
    .await?;
    ensure!(say_and_hear(&mut stream, b"meanwhile").await? == b"meanwhile");
    proxy.heal();
    let mut again = chat_e2e::await_until("the way back", SOON, async || {
        connect(&proxy).await.map(Some)
    })
    .await?;
    ensure!(say_and_hear(&mut again, b"again").await? == b"again");
    Ok(())
}

/// A hundred numbers through a broker: as they were delivered, once all are settled
/// and the broker has none left.
async fn deliveries(frames: Frames, nack_first: bool) -> anyhow::Result<(Vec<u32>, u64)> {
    const COUNT: u32 = 100;
    let cluster = chat_local::testing::cluster().await;
    let stores = &cluster.stores;
    let proxy = Proxy::amqp(stores.rabbitmq_port).await?;
    proxy.set(Faults {
        seed: 3,
        ..Faults::frames(frames)
    });
    let uri = format!(
        "amqp://{}:{}@127.0.0.1:{}/{}",
        chat_local::ADMIN,
        stores.password,
        proxy.port(),
        cluster.name
    );
    // The vhost is new; the administrator may do everything in it.
    stores
        .rabbitmq_api(
            reqwest::Method::PUT,
            &format!("permissions/{}/{}", cluster.name, chat_local::ADMIN),
            Some(serde_json::json!({ "configure": ".*", "write": ".*", "read": ".*" })),
        )
        .await?;
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let queue = "numbers";
    channel
        .queue_declare(
            queue.into(),
            QueueDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    for number in 0..COUNT {
        // Larger than a frame, and than nothing.
        let mut body = number.to_be_bytes().to_vec();
        body.resize(if number == 5 { 300_000 } else { 4 }, 0);
        channel
            .basic_publish(
                "".into(),
                queue.into(),
                BasicPublishOptions::default(),
                &body,
                BasicProperties::default(),
            )
            .await?
            .await?;
    }
    channel.basic_qos(20, BasicQosOptions::default()).await?;
    let mut consumer = channel
        .basic_consume(
            queue.into(),
            "reader".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let copies = if frames == Frames::Doubled { 2 } else { 1 };
    let expected = COUNT as usize * copies + if nack_first { copies } else { 0 };
    let mut heard = Vec::new();
    while heard.len() < expected {
        let delivery = timeout(SOON, consumer.next())
            .await
            .with_context(|| format!("only {heard:?}"))?
            .context("the consumer ended")??;
        heard.push(u32::from_be_bytes(delivery.data[..4].try_into()?));
        let tag = delivery.delivery_tag;
        if nack_first && heard.len() <= copies {
            let requeue = BasicNackOptions {
                requeue: true,
                ..BasicNackOptions::default()
            };
            channel.basic_nack(tag, requeue).await?;
        } else if heard.len() % 10 == 0 || heard.len() == expected {
            let all = BasicAckOptions { multiple: true };
            channel.basic_ack(tag, all).await?;
        }
    }
    // The channel would be closed by a tag that the broker does not know.
    channel.close(200, "done".into()).await?;
    let channel = connection.create_channel().await?;
    let left = channel
        .queue_declare(
            queue.into(),
            QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            },
            FieldTable::default(),
        )
        .await?
        .message_count();
    ensure!(left == 0, "{left} were not acknowledged");
    connection.close(200, "done".into()).await?;
    Ok((heard, proxy.disturbed()))
}

#[tokio::test]
async fn deliveries_pass_untouched_without_a_fault() -> anyhow::Result<()> {
    let (heard, disturbed) = deliveries(Frames::Untouched, false).await?;
    ensure!(heard == (0..100).collect::<Vec<_>>() && disturbed == 0);
    let (heard, _) = deliveries(Frames::Untouched, true).await?;
    ensure!(heard.iter().filter(|number| **number == 0).count() == 2);
    Ok(())
}

#[tokio::test]
async fn each_delivery_comes_twice_and_is_acknowledged_once() -> anyhow::Result<()> {
    let (heard, disturbed) = deliveries(Frames::Doubled, false).await?;
    let twice: Vec<_> = (0..100).flat_map(|number| [number, number]).collect();
    ensure!(heard == twice && disturbed == 100, "{heard:?}");
    Ok(())
}

#[tokio::test]
async fn deliveries_come_in_another_order_and_each_once() -> anyhow::Result<()> {
    let (mut heard, disturbed) = deliveries(Frames::Shuffled, false).await?;
    ensure!(!heard.is_sorted() && disturbed > 0, "{heard:?}");
    heard.sort_unstable();
    ensure!(heard == (0..100).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn the_server_sees_the_address_of_the_client() -> anyhow::Result<()> {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let proxy = Proxy::start(server.local_addr()?.port()).await?;
    let here = IpAddr::from([127, 12, 34, 56]);
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(here, 0))?;
    let there = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port()));
    let _client = socket.connect(there).await?;
    let (_, from) = server.accept().await?;
    assert_eq!(from.ip(), here);
    Ok(())
}
