//! As little of XMPP as two people need who chat.

use anyhow::ensure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::ejabberd::{HOST, PASSWORD, ROOMS};
use super::{MARK, body, marks};

const STREAM: &str = "<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

pub struct Xmpp {
    pub ear: Ear,
    mouth: OwnedWriteHalf,
}

/// What a user hears.
pub struct Ear {
    stream: OwnedReadHalf,
    buffer: BytesMut,
    user: String,
}

impl Xmpp {
    pub async fn sign_in(port: u16, user: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (stream, mouth) = stream.into_split();
        let ear = Ear {
            stream,
            buffer: BytesMut::new(),
            user: user.to_owned(),
        };
        let mut xmpp = Self { ear, mouth };
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
            xmpp.ear.wait_for(until).await?;
        }
        Ok(xmpp)
    }

    /// Becomes a member of the room, which is made for the first one.
    pub async fn join(&mut self, room: &str) -> anyhow::Result<()> {
        let user = &self.ear.user;
        let join = format!(
            "<presence to='{room}@{ROOMS}/{user}'><x xmlns='http://jabber.org/protocol/muc'>\
             <history maxstanzas='0'/></x></presence>"
        );
        self.say(join.as_bytes()).await?;
        // Its own presence is the last, and after it comes the subject.
        self.ear.wait_for("<subject").await
    }

    pub fn message_to_room(room: &str) -> Vec<u8> {
        let body = body();
        format!("<message to='{room}@{ROOMS}' type='groupchat'><body>{body}</body></message>")
            .into_bytes()
    }

    pub fn split(self) -> (Ear, OwnedWriteHalf) {
        (self.ear, self.mouth)
    }

    pub fn message_to(&self, other: &Self) -> Vec<u8> {
        let (to, body) = (&other.ear.user, body());
        format!("<message to='{to}@{HOST}/r' type='chat'><body>{body}</body></message>")
            .into_bytes()
    }

    pub async fn say(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.mouth.write_all(bytes).await?)
    }
}

impl Ear {
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
