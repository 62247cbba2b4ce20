//! What a Redis server is told, and what it answers: version 2 of its protocol, which every version speaks.
//!
//! The crate `redis` would bring nine others, one of them under a licence that is not in `ci/deny.toml`. What is needed here
//! is requests of texts and five kinds of answers.
//!
//! Source: Redis, "Redis serialization protocol specification".

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// The longest line, in bytes: an error of people's length, or a number.
const MOST_LINE: usize = 16 * 1024;

/// The most items of a list. A page of keys has about a hundred; a server may give more of them.
const MOST_ITEMS: u64 = 100_000;

/// The deepest that lists may stand in one another.
const MOST_DEPTH: usize = 4;

/// A connection that is spoken over.
pub(super) struct Wire<S> {
    stream: BufReader<S>,
    /// How many bytes may still come.
    left: u64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// A text, or a status.
    Text(Vec<u8>),
    /// A number.
    Number(i64),
    /// There is nothing.
    Nothing,
    /// A refusal.
    Error(String),
    /// Several.
    List(Vec<Reply>),
}

impl Reply {
    /// The words of the first refusal in it: a transaction that was carried out has one for each command that was not.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Reply::Error(words) => Some(words),
            Reply::List(items) => items.iter().find_map(Reply::refusal),
            Reply::Text(_) | Reply::Number(_) | Reply::Nothing => None,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Speaks over a stream, and takes so many bytes at most.
    pub fn new(stream: S, most: u64) -> Wire<S> {
        Wire {
            stream: BufReader::new(stream),
            left: most,
        }
    }

    /// Sends requests, each some texts, and reads as many answers.
    ///
    /// # Errors
    /// Those of the connection; [`ErrorKind::InvalidData`] when an answer is none.
    pub async fn ask(&mut self, requests: &[&[&[u8]]]) -> Result<Vec<Reply>> {
        let mut bytes = Vec::new();
        for request in requests {
            bytes.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
            for text in *request {
                bytes.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
                bytes.extend_from_slice(text);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await?;
        let mut replies = Vec::new();
        for _ in requests {
            replies.push(self.reply(1).await?);
        }
        Ok(replies)
    }

    async fn reply(&mut self, depth: usize) -> Result<Reply> {
        let line = self.line().await?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(odd)?;
        let number = || rest.parse::<i64>().map_err(|_| odd());
        Ok(match kind {
            "+" => Reply::Text(rest.as_bytes().to_vec()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Number(number()?),
            "$" | "*" if number()? == -1 => Reply::Nothing,
            "$" => Reply::Text(
                self.text(u64::try_from(number()?).map_err(|_| odd())?)
                    .await?,
            ),
            "*" => {
                let count = u64::try_from(number()?).map_err(|_| odd())?;
                if count > MOST_ITEMS || depth >= MOST_DEPTH {
                    return Err(odd());
                }
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(Box::pin(self.reply(depth + 1)).await?);
                }
                Reply::List(items)
            }
            _ => return Err(odd()),
        })
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            line.push(self.stream.read_u8().await?);
            if line.ends_with(b"\r\n") {
                line.truncate(line.len() - 2);
                self.take(line.len() as u64)?;
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if line.len() > MOST_LINE {
                return Err(odd());
            }
        }
    }

    async fn text(&mut self, length: u64) -> Result<Vec<u8>> {
        self.take(length)?;
        let mut text = Vec::new();
        // No more room is made than has come.
        let mut part = (&mut self.stream).take(length);
        part.read_to_end(&mut text).await?;
        if (text.len() as u64) < length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut end = [0; 2];
        self.stream.read_exact(&mut end).await?;
        match &end == b"\r\n" {
            true => Ok(text),
            false => Err(odd()),
        }
    }

    fn take(&mut self, bytes: u64) -> Result<()> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or_else(|| Error::new(ErrorKind::InvalidData, "it says more than is read"))?;
        Ok(())
    }
}

fn odd() -> Error {
    Error::new(
        ErrorKind::InvalidData,
        "it does not answer as a Redis server does",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// What is made of these words of a server, and what it was asked.
    async fn said(words: &[u8]) -> (Result<Vec<Reply>>, String) {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        theirs.write_all(words).await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut wire = Wire::new(ours, 1000);

        let replies = wire.ask(&[&[b"GET", b"a\r\n"]]).await;

        drop(wire);
        let mut asked = String::new();
        theirs.read_to_string(&mut asked).await.unwrap();
        (replies, asked)
    }

    #[tokio::test]
    async fn answers_are_read_and_requests_have_lengths() {
        for (words, reply) in [
            (&b"+OK\r\n"[..], Reply::Text(b"OK".to_vec())),
            (b"$4\r\na\r\nb\r\n", Reply::Text(b"a\r\nb".to_vec())),
            (b"$0\r\n\r\n", Reply::Text(Vec::new())),
            (b"$-1\r\n", Reply::Nothing),
            (b"*-1\r\n", Reply::Nothing),
            (b":-7\r\n", Reply::Number(-7)),
            (b"-ERR no\r\n", Reply::Error("ERR no".to_owned())),
            (
                b"*2\r\n:1\r\n*1\r\n+x\r\n",
                Reply::List(vec![
                    Reply::Number(1),
                    Reply::List(vec![Reply::Text(b"x".to_vec())]),
                ]),
            ),
        ] {
            let (replies, asked) = said(words).await;
            assert_eq!(replies.unwrap(), [reply]);
            assert_eq!(asked, "*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_or_too_much_is_refused() {
        for words in [
            "",
            "x\r\n",
            "\r\n",
            "+OK",
            "$5\r\nab\r\n",
            "$2\r\nabc\r\n",
            "$-2\r\n",
            "$x\r\n",
            "*x\r\n",
            "*1\r\n",
            "$99999999999999\r\n",
            "*1000000000\r\n",
            "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
            "$1001\r\n",
        ] {
            assert!(said(words.as_bytes()).await.0.is_err(), "{words:?}");
        }
        let endless = "+".to_owned() + &"x".repeat(MOST_LINE + 10);
        assert!(said(endless.as_bytes()).await.0.is_err());
    }
}
