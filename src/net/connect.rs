//! A TCP connection, straight or through an HTTP proxy's tunnel.
//!
//! Source: RFC 9110, 9.3.6 "CONNECT".

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use terminal::harmless;

use crate::{Connection, Limits, NetError, Proxy, keep_to_built_in_services};

/// The longest answer to a CONNECT that is read: it is one line and some headers.
const MOST_ANSWER: usize = 16 * 1024;

/// Connects to `host` (an IPv6 address may stand in brackets), through `proxy` if there is one; `remote` is what messages
/// call it.
///
/// # Errors
/// [`NetError`].
pub async fn connect(
    remote: &str,
    host: &str,
    port: u16,
    proxy: Option<&Proxy>,
    limits: Limits,
) -> Result<Connection, NetError> {
    let Some(proxy) = proxy else {
        return tcp(remote, host, port, limits).await;
    };
    let mut stream = tcp(
        &format!("the proxy {}:{}", proxy.host, proxy.port),
        &proxy.host,
        proxy.port,
        limits,
    )
    .await?;
    match timeout(limits.silence, tunnel(&mut stream, proxy, host, port)).await {
        Ok(result) => result.map(|()| stream),
        Err(_) => Err(NetError::Silent {
            remote: format!("the proxy {}:{}", proxy.host, proxy.port),
            after: limits.silence,
        }),
    }
}

async fn tcp(remote: &str, host: &str, port: u16, limits: Limits) -> Result<Connection, NetError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let limit = limits.connect;
    keep_to_built_in_services();
    match timeout(limit, TcpStream::connect((bare, port))).await {
        Err(_) => Err(NetError::Silent {
            remote: remote.to_owned(),
            after: limit,
        }),
        Ok(Err(source)) => Err(NetError::Unreachable {
            remote: remote.to_owned(),
            source: source.into(),
        }),
        Ok(Ok(stream)) => Ok(Connection::new(stream)),
    }
}

async fn tunnel(
    stream: &mut Connection,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<(), NetError> {
    let name = format!("{}:{}", proxy.host, proxy.port);
    let broken = |source: std::io::Error| NetError::Unreachable {
        remote: format!("the proxy {name}"),
        source: source.into(),
    };
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(credentials) = &proxy.credentials {
        request.push_str(&format!("Proxy-Authorization: {}\r\n", credentials.basic()));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;

    // Byte by byte: what follows the answer is the other side's already. It is some hundred bytes, once.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MOST_ANSWER {
            return Err(refused(&name, "its answer is too long"));
        }
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(err) if err.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(NetError::Ended {
                    remote: format!("the proxy {name}"),
                    words: String::new(),
                });
            }
            Err(err) => return Err(broken(err)),
        }
    }
    let line = answer
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = harmless::words(line);
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..))
        .unwrap_or_default()
        .to_owned();
    match status.get(..3).and_then(|code| code.parse::<u16>().ok()) {
        Some(200..=299) => Ok(()),
        // The proxy does not get through: that may pass.
        Some(500..=599) => Err(NetError::Failed {
            remote: format!("the proxy {name}"),
            words: status,
        }),
        Some(_) => Err(refused(&name, &status)),
        None => Err(refused(
            &name,
            &format!("it answers `{line}`, not as an HTTP proxy does"),
        )),
    }
}

fn refused(proxy: &str, words: &str) -> NetError {
    NetError::Proxy {
        proxy: proxy.to_owned(),
        words: words.to_owned(),
    }
}
