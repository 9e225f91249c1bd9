//! `tokio_util` over our streams: `compat` turns the traits of `futures` into tokio's. No runtime of tokio's takes part.

use std::io;

use futures::{SinkExt, StreamExt};
use sim_core::World;
use sim_core::stream::{Duplex, StreamReader, StreamWriter};
use tests::both_loops;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec, LinesCodec};
use tokio_util::compat::FuturesAsyncReadCompatExt;

/// What a client and the server's end of its connection have.
async fn connected(world: &World) -> io::Result<(Duplex, Duplex)> {
    let (server, client) = (world.host("server"), world.host("client"));
    let accepted = server.create_future::<()>();
    let halves = std::rc::Rc::new(std::cell::RefCell::new(None));
    let (place, announce) = (halves.clone(), accepted.clone());
    let _listening = server
        .start_server(("server", 7000), move |reader: StreamReader, writer: StreamWriter| {
            place.replace(Some(Duplex::new(reader, writer)));
            announce.set_result(()).expect("there is one connection");
            async {}
        })
        .await?;
    let (reader, writer) = client.open_connection(("server", 7000)).await?;
    accepted.await.map_err(io::Error::other)?;
    let far = halves.take().expect("it was put there");
    Ok((Duplex::new(reader, writer), far))
}

both_loops! {
    /// Tokio's extension traits read, write, split and buffer.
    async fn tokios_traits_work_over_streams(world: World) -> io::Result<()> {
        let (near, far) = connected(&world).await?;
        let (near, mut far) = (near.compat(), far.compat());
        let (reader, mut writer) = tokio::io::split(near);
        writer.write_all(b"one line\nand a ha").await?;
        writer.write_all(b"lf\n\x00\x00\x01\x02rest").await?;
        writer.shutdown().await?;

        let mut lines = BufReader::new(&mut far).lines();
        assert_eq!(lines.next_line().await?.as_deref(), Some("one line"));
        assert_eq!(lines.next_line().await?.as_deref(), Some("and a half"));
        let mut buffered = lines.into_inner();
        assert_eq!(buffered.read_u32().await?, 0x0102);
        let mut rest = String::new();
        buffered.read_to_string(&mut rest).await?;
        assert_eq!(rest, "rest");

        // The other half is open.
        far.write_all(b"bye\n").await?;
        far.shutdown().await?;
        let mut answer = String::new();
        BufReader::new(reader).read_line(&mut answer).await?;
        assert_eq!(answer, "bye\n");
        Ok(())
    }

    /// What does not fit into the water marks waits, and all of it arrives.
    async fn writes_are_held_back_and_arrive(world: World) -> io::Result<()> {
        const BYTES: usize = 3 << 20;
        let (near, far) = connected(&world).await?;
        let (mut near, mut far) = (near.compat(), far.compat());
        let server = world.host("server");
        let reading = server.create_task(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.map(|_| all)
        });
        let body: Vec<u8> = (0..BYTES).map(|place| (place % 251) as u8).collect();
        near.write_all(&body).await?;
        near.shutdown().await?;
        let arrived = reading.await.map_err(io::Error::other)??;
        assert!(arrived == body, "{} bytes arrived", arrived.len());
        Ok(())
    }

    /// Codecs cut messages out of the stream, wherever it was cut.
    async fn codecs_frame_messages(world: World) -> io::Result<()> {
        let (near, far) = connected(&world).await?;
        let mut near = Framed::new(near.compat(), LengthDelimitedCodec::new());
        let mut far = Framed::new(far.compat(), LengthDelimitedCodec::new());
        let long = vec![7; 100_000];
        near.send(Bytes::from_static(b"short")).await?;
        near.send(Bytes::from(long.clone())).await?;
        assert_eq!(far.next().await.expect("it comes")?[..], b"short"[..]);
        assert_eq!(far.next().await.expect("it comes")?[..], long[..]);
        // Both sides turn to lines.
        let near = near.into_inner();
        let mut far = Framed::new(far.into_inner(), LinesCodec::new());
        far.send("hello").await.map_err(io::Error::other)?;
        let mut near = Framed::new(near, LinesCodec::new());
        assert_eq!(near.next().await.expect("it comes").map_err(io::Error::other)?, "hello");
        drop(far);
        assert!(near.next().await.is_none());
        Ok(())
    }
}
