//! `git://`: the protocol over a bare TCP connection.
//!
//! Source: `gitprotocol-pack(5)`, "Git Transport".

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::RemoteError;
use super::super::packet::{self, PacketReader};
use super::{Link, Service, Talk, To};

pub(super) async fn open<'a>(
    link: &'a Link,
    host: &str,
    port: u16,
    path: &str,
    service: Service,
) -> Result<Talk<'a>, RemoteError> {
    let stream = connect(link, host, port).await?;
    let (reader, writer) = stream.into_split();
    let mut talk = Talk {
        link,
        reader: PacketReader::new(Box::new(reader), link.limits.silence),
        to: To::Pipe {
            writer: Box::new(writer),
            aside: None,
        },
    };
    let mut greeting = Vec::new();
    packet::push(
        &mut greeting,
        format!("{} {path}\0host={host}:{port}\0", service.name()).as_bytes(),
    );
    talk.send(greeting).await?;
    Ok(talk)
}

async fn connect(link: &Link, host: &str, port: u16) -> Result<TcpStream, RemoteError> {
    // An IPv6 address stands in brackets in a URL, and without them here.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let limit = link.limits.connect;
    let stream = match timeout(limit, TcpStream::connect((bare, port))).await {
        Err(_) => {
            return Err(RemoteError::Silent {
                remote: link.remote.clone(),
                after: limit,
            });
        }
        Ok(Err(source)) => {
            return Err(RemoteError::Unreachable {
                remote: link.remote.clone(),
                source: source.into(),
            });
        }
        Ok(Ok(stream)) => stream,
    };
    // Requests are small and each waits for its answer: without this every one is held back for up to 40 ms.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
