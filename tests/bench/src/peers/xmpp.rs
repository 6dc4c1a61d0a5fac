//! As little of XMPP as two people need who chat.

use anyhow::ensure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ejabberd::{HOST, PASSWORD};
use super::{MARK, body, marks};

const STREAM: &str = "<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

pub struct Xmpp {
    stream: TcpStream,
    buffer: BytesMut,
    user: String,
}

impl Xmpp {
    pub async fn sign_in(port: u16, user: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut xmpp = Self {
            stream,
            buffer: BytesMut::new(),
            user: user.to_owned(),
        };
        let secret = STANDARD.encode(format!("\0{user}\0{PASSWORD}"));
        let auth = format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>"
        );
        let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
            <resource>r</resource></bind></iq>";
        for (say, until) in [
            (STREAM, "</stream:features>"),
            (&auth, "<success"),
            (STREAM, "</stream:features>"),
            (bind, "</iq>"),
            ("<presence/>", "<presence"),
        ] {
            xmpp.say(say.as_bytes()).await?;
            xmpp.wait_for(until).await?;
        }
        Ok(xmpp)
    }

    pub fn message_to(&self, other: &Self) -> Vec<u8> {
        let (to, body) = (&other.user, body());
        format!("<message to='{to}@{HOST}/r' type='chat'><body>{body}</body></message>")
            .into_bytes()
    }

    pub async fn say(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// How many messages came with the next bytes. Nothing is lost when it is dropped.
    pub async fn hear(&mut self) -> anyhow::Result<usize> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        ensure!(read > 0, "{} was disconnected", self.user);
        let count = marks(&self.buffer);
        // A mark may have come in part.
        let seen = self.buffer.len().saturating_sub(MARK.len() - 1);
        let last = self
            .buffer
            .windows(MARK.len())
            .rposition(|window| window == MARK)
            .map_or(0, |place| place + MARK.len());
        drop(self.buffer.split_to(seen.max(last)));
        Ok(count)
    }

    async fn wait_for(&mut self, wanted: &str) -> anyhow::Result<()> {
        loop {
            let said = String::from_utf8_lossy(&self.buffer);
            if let Some(place) = said.find(wanted) {
                drop(self.buffer.split_to(place + wanted.len()));
                return Ok(());
            }
            ensure!(
                !said.contains("error") && !said.contains("<failure"),
                "{said}"
            );
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "{} was disconnected before {wanted}", self.user);
        }
    }
}
