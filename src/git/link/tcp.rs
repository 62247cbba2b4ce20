//! `git://`: the protocol over a bare TCP connection.
//!
//! Source: `gitprotocol-pack(5)`, "Git Transport".

use std::sync::Arc;

use super::super::RemoteError;
use super::super::packet::{self, PacketReader};
use super::{Link, Service, Talk, To};
use net::connect;

pub(super) async fn open(
    link: &Arc<Link>,
    host: &str,
    port: u16,
    path: &str,
    service: Service,
) -> Result<Talk, RemoteError> {
    // A proxy is for HTTP and SSH: `git://` is for networks where there is none.
    let stream = connect(&link.remote, host, port, None, link.access.route.limits).await?;
    let (reader, writer) = tokio::io::split(stream);
    let mut talk = Talk {
        link: link.clone(),
        reader: PacketReader::new(Box::new(reader), link.access.route.limits.silence),
        to: To::Pipe {
            writer: Box::new(writer),
            aside: None,
            session: None,
            is_sending: false,
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
