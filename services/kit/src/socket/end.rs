//! Why a socket is closed.

use std::error::Error;

use chat_events::close;
use tokio_tungstenite::tungstenite;

/// The peer sent text that is not UTF-8 (RFC 6455).
const INVALID_TEXT: u16 = 1007;
const PROTOCOL_ERROR: u16 = 1002;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed, or its connection broke.
    Gone,
    /// The peer does not answer pings.
    Silent,
    /// The peer broke the rules of WebSocket, so with that code.
    Protocol(u16),
    TooBig,
    TooManyFrames,
    Stopping,
    Expired,
    Revoked,
    SlowReader,
    /// What was told to the client no longer holds.
    FanOutLost,
}

impl End {
    /// What a broken read says about the peer.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        use tungstenite::Error as Ws;
        use tungstenite::error::ProtocolError;

        let mut next = Some(error);
        while let Some(error) = next {
            match error.downcast_ref::<Ws>() {
                Some(Ws::Capacity(_)) => return Self::TooBig,
                Some(Ws::Utf8(_)) => return Self::Protocol(INVALID_TEXT),
                Some(Ws::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                    return Self::Gone;
                }
                Some(Ws::Protocol(_)) => return Self::Protocol(PROTOCOL_ERROR),
                Some(_) => return Self::Gone,
                None => next = error.source(),
            }
        }
        Self::Gone
    }

    /// The close code, if the peer is there to hear it.
    pub const fn code(self) -> Option<u16> {
        match self {
            Self::Gone | Self::Silent => None,
            Self::Protocol(code) => Some(code),
            Self::TooBig => Some(close::TOO_BIG),
            Self::TooManyFrames => Some(close::POLICY),
            Self::Stopping => Some(close::GOING_AWAY),
            Self::Expired => Some(close::EXPIRED),
            Self::Revoked => Some(close::REVOKED),
            Self::SlowReader => Some(close::SLOW_READER),
            Self::FanOutLost => Some(close::FAN_OUT_LOST),
        }
    }

    /// For people.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::Protocol(_) => "protocol error",
            Self::TooBig => "frame too big",
            Self::TooManyFrames => "too many frames",
            Self::Stopping => "server stopping",
            Self::Expired => "token expired",
            Self::Revoked => "session ended",
            Self::SlowReader => "slow reader",
            Self::FanOutLost => "events lost",
        }
    }

    /// For metrics: the close code, or the reason of an end without one.
    pub fn label(self) -> String {
        self.code()
            .map_or_else(|| self.reason().to_owned(), |code| code.to_string())
    }
}
