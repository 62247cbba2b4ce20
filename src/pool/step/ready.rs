//! A source made ready for use: the settings of Git and the environment taken into account.

mod signing;

use std::io::Write;
use std::time::Duration;

use url::Url;

use super::{StepError, Surroundings};
use crate::concourse::Source;
use crate::metrics::push::Gateway;
use git::{
    Access, HostKeys, Identity, Links, Location, Remote, RemoteError, SshAccess, Store, UnknownHost,
};
use net::http::Client;
use net::{AGENT, Credentials, Header, Limits, NetError, Proxy, Route, Trust};
use pace::Pace;
use signing::{Signing, signer};

/// Where to go, how, and as whom.
pub(super) struct Ready {
    links: Links,
    pub location: Location,
    pub access: Access,
    pub identity: Identity,
    pub pace: Pace,
    /// Where metrics are pushed to.
    pub gateway: Option<Gateway>,
}

/// How the repository of a source is reached, for others who keep something else in it.
#[derive(Debug)]
pub struct Reach {
    /// Where it is.
    pub location: Location,
    /// How to get in.
    pub access: Access,
    /// Who commits.
    pub identity: Identity,
    /// How long errors of the server are retried.
    pub fault_limit: Duration,
}

/// Says how the repository of `source` is reached, and on `log` what of it has no effect.
///
/// # Errors
/// [`StepError`] when the uri, a setting or the environment's proxy is not one.
pub fn reach(
    source: &Source,
    around: &Surroundings,
    log: &mut dyn Write,
) -> Result<Reach, StepError> {
    let ready = Ready::new(source, around, log)?;
    Ok(Reach {
        location: ready.location,
        access: ready.access,
        identity: ready.identity,
        fault_limit: ready.pace.fault_limit,
    })
}

/// What the settings of Git among a source's keys say.
#[derive(Default)]
struct Settings {
    name: Option<String>,
    email: Option<String>,
    proxy: Option<String>,
    anyone: bool,
    headers: Vec<Header>,
    /// What a uri may start with, and what is put in its place.
    instead_of: Vec<(String, String)>,
    signing: Signing,
    /// Those that mean nothing to us.
    others: Vec<String>,
}

impl Ready {
    /// Makes `source` ready, saying on `log` what of it has no effect.
    ///
    /// # Errors
    /// [`StepError`] when the uri, a setting or the environment's proxy is not one.
    pub fn new(
        source: &Source,
        around: &Surroundings,
        log: &mut dyn Write,
    ) -> Result<Ready, StepError> {
        for note in &source.notes {
            terminal::say(log, format_args!("{note}"));
        }
        let settings = Settings::read(source);
        for name in &settings.others {
            terminal::say(
                log,
                format_args!("note: the setting `{name}` in `git_config` has no effect here"),
            );
        }
        if source.forward_agent {
            let line = "note: `forward_agent` has no effect here: no program on the server is run that could use an agent";
            terminal::say(log, format_args!("{line}"));
        }
        let uri = settings.rewritten(source.uri.expose());
        let (mut location, in_uri) = Location::parse(&uri)?;
        if let Location::Ssh { user, .. } = &mut location {
            match (&user, &source.private_key_user) {
                (Some(user), Some(other)) if user != other => {
                    let line = format_args!(
                        "note: the user `{user}` of `uri` is used, not `private_key_user`"
                    );
                    terminal::say(log, line);
                }
                (Some(_), _) => {}
                (None, given) => *user = given.clone(),
            }
        }
        let access = Access {
            route: Route {
                limits: Limits {
                    connect: source.connect_timeout,
                    silence: source.silence_timeout,
                    attempt: source.attempt_timeout,
                },
                trust: Trust {
                    certificates: source.ca_cert.clone(),
                    anyone: source.skip_ssl_verification || settings.anyone,
                },
                proxy: proxy(source, &settings, around, &location)?,
            },
            credentials: credentials(source, in_uri),
            ssh: SshAccess {
                key: match location {
                    Location::Ssh { .. } => source.ssh_key()?,
                    Location::Http(_) | Location::Git { .. } | Location::Path(_) => None,
                },
                passphrase: source
                    .private_key_passphrase
                    .as_ref()
                    .map(|text| text.expose().to_owned()),
                agent: around.ssh_agent.clone(),
                host_keys: host_keys(source, around),
            },
            headers: settings.headers.clone(),
            settings: around.git_settings.clone(),
        };
        let gateway = match &source.prometheus_push_gateway {
            Some(url) => {
                let (at, _) = Location::parse(url.expose().as_str())?;
                let proxy = proxy(source, &settings, around, &at)?;
                Some(Gateway::new(url, &access.route.trust, proxy)?)
            }
            None => None,
        };
        Ok(Ready {
            links: around.links.clone(),
            location,
            access,
            gateway,
            identity: {
                let signer = signer(source, &settings, around)?;
                let usual = Identity::default();
                Identity {
                    name: settings.name.unwrap_or(usual.name),
                    email: settings.email.unwrap_or(usual.email),
                    signer,
                }
            },
            pace: Pace {
                retry_delay: source.retry_delay,
                fault_limit: source.fault_timeout,
            },
        })
    }

    /// A client for another server, at `url`: reached as the source's own, and without what proves to that who we are.
    pub fn http_client(
        &self,
        source: &Source,
        around: &Surroundings,
        url: &Url,
    ) -> Result<Client, StepError> {
        let settings = Settings::read(source);
        let route = Route {
            proxy: proxy(source, &settings, around, &Location::Http(url.clone()))?,
            ..self.access.route.clone()
        };
        Ok(Client::new(url, &route, AGENT)?)
    }

    /// The branch, with `store` for its objects.
    pub fn remote(&self, branch: &str, store: Store) -> Result<Remote, StepError> {
        let (location, access) = (&self.location, &self.access);
        Ok(self.links.remote(location, access, branch, store)?)
    }
}

impl Settings {
    /// Reads the settings that hold for the source's uri, as `url.*.insteadOf` rewrites it.
    fn read(source: &Source) -> Settings {
        let mut settings = Settings::default();
        for (name, value) in &source.git_config {
            if let Some(base) = between(name, "url.", ".insteadof") {
                settings
                    .instead_of
                    .push((value.expose().to_owned(), base.to_owned()));
            }
        }
        let place = Url::parse(&settings.rewritten(source.uri.expose())).ok();
        for (name, value) in &source.git_config {
            let value = value.expose().to_owned();
            let lower = name.to_ascii_lowercase();
            let (section, key) = lower.rsplit_once('.').unwrap_or((&lower, ""));
            // What is set for one server (`http.https://example.com/.extraHeader`) may be a token that no other is to
            // see.
            let http = section == "http"
                || section.starts_with("http.")
                    && is_below(place.as_ref(), &name["http.".len()..section.len()]);
            match (lower.as_str(), key) {
                ("user.name", _) => settings.name = Some(value).filter(|name| !name.is_empty()),
                ("user.email", _) => settings.email = Some(value).filter(|email| !email.is_empty()),
                ("gpg.format", _) => settings.signing.format = Some(value),
                ("user.signingkey", _) => settings.signing.signing_key = Some(value),
                ("commit.gpgsign", _) => {
                    let off = ["false", "no", "off", "0", ""];
                    let value = value.to_ascii_lowercase();
                    settings.signing.wanted = Some(!off.contains(&value.as_str()));
                }
                (_, "proxy") if http => settings.proxy = Some(value),
                (_, "sslverify") if http => {
                    settings.anyone = matches!(
                        value.to_ascii_lowercase().as_str(),
                        "false" | "no" | "off" | "0"
                    );
                }
                // An empty one takes back those before it.
                (_, "extraheader") if http && value.is_empty() => settings.headers.clear(),
                (_, "extraheader") if http => {
                    let (name, value) = value.split_once(':').unwrap_or((&value, ""));
                    let header = Header {
                        name: name.trim().to_owned(),
                        value: value.trim().to_owned(),
                    };
                    settings.headers.push(header);
                }
                _ if between(name, "url.", ".insteadof").is_some() => {}
                _ => settings.others.push(name.clone()),
            }
        }
        let without_effect = settings.signing.without_effect();
        let without_effect = without_effect.into_iter().map(str::to_owned);
        settings.others.extend(without_effect);
        settings
    }

    /// The uri after the longest `url.*.insteadOf` that it starts with, as Git does it.
    fn rewritten(&self, uri: &str) -> String {
        let fitting = self
            .instead_of
            .iter()
            .filter(|(start, _)| !start.is_empty() && uri.starts_with(start.as_str()));
        match fitting.max_by_key(|(start, _)| start.len()) {
            Some((start, base)) => format!("{base}{}", &uri[start.len()..]),
            None => uri.to_owned(),
        }
    }
}

/// What stands between a start and an end that are given in lower case, and written in any.
fn between<'a>(name: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    let fits =
        lower.len() > start.len() + end.len() && lower.starts_with(start) && lower.ends_with(end);
    if fits {
        name.get(start.len()..name.len() - end.len())
    } else {
        None
    }
}

/// Whether a URL is the one at `above`, or below it: same kind, same host, and its path goes on from there.
fn is_below(url: Option<&Url>, above: &str) -> bool {
    let (Some(url), Ok(above)) = (url, Url::parse(above)) else {
        return false;
    };
    let path = above.path().trim_end_matches('/');
    let same_place = url.scheme() == above.scheme()
        && url.host() == above.host()
        && url.port_or_known_default() == above.port_or_known_default();
    let rest = url.path().strip_prefix(path);
    same_place && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn credentials(source: &Source, in_uri: Option<Credentials>) -> Option<Credentials> {
    if source.username.is_none() && source.password.is_none() {
        return in_uri;
    }
    let in_uri = in_uri.unwrap_or_default();
    Some(Credentials {
        username: source.username.clone().unwrap_or(in_uri.username),
        password: source
            .password
            .as_ref()
            .map(|password| password.expose().to_owned())
            .or(in_uri.password),
    })
}

fn host_keys(source: &Source, around: &Surroundings) -> HostKeys {
    if let Some(lines) = &source.known_hosts {
        return HostKeys::Known {
            lines: lines.clone(),
            from: "`source.known_hosts`".to_owned(),
            unknown: UnknownHost::Refuse,
        };
    }
    let home = around.home.as_ref();
    let users = home.map(|home| home.join(".ssh/known_hosts"));
    let files = [users.as_ref(), around.met_hosts.as_ref()];
    let read = files.into_iter().flatten().filter_map(|file| {
        // Comments are in any encoding; they must not make the rest go unread.
        let lines = String::from_utf8_lossy(&std::fs::read(file).ok()?).into_owned();
        Some((lines, format!("`{}`", file.display())))
    });
    let (lines, from): (Vec<String>, Vec<String>) = read.unzip();
    let unknown = match &around.met_hosts {
        _ if source.strict_host_keys => UnknownHost::Refuse,
        Some(file) => UnknownHost::Remember(file.clone()),
        None => UnknownHost::Accept,
    };
    if from.is_empty() && unknown == UnknownHost::Accept {
        return HostKeys::Any;
    }
    HostKeys::Known {
        lines: lines.join("\n"),
        from: match from.as_slice() {
            [] => "`known_hosts`, which is not there,".to_owned(),
            from => from.join(" or "),
        },
        unknown,
    }
}

/// The proxy to go through: the source's own tunnel, then `http.proxy`, then what the environment says.
fn proxy(
    source: &Source,
    settings: &Settings,
    around: &Surroundings,
    location: &Location,
) -> Result<Option<Proxy>, StepError> {
    let url = match location {
        Location::Ssh { .. } => None,
        Location::Http(url) => Some(url),
        Location::Path(_) | Location::Git { .. } => return Ok(None),
    };
    if let Some(tunnel) = &source.https_tunnel {
        let credentials = tunnel.user.as_ref().map(|user| Credentials {
            username: user.clone(),
            password: tunnel
                .password
                .as_ref()
                .map(|password| password.expose().to_owned()),
        });
        return Ok(Some(Proxy {
            host: tunnel.host.clone(),
            port: tunnel.port,
            credentials,
        }));
    }
    let Some(url) = url else {
        return Ok(None);
    };
    let (place, found) = match &settings.proxy {
        // Set to nothing it means none, whatever the environment says.
        Some(proxy) if proxy.is_empty() => return Ok(None),
        Some(proxy) => (
            "`http.proxy` in `git_config`",
            Proxy::parse(proxy, url).map(Some),
        ),
        None => ("the environment's proxy", around.proxies.proxy_for(url)),
    };
    found.map_err(|why| RemoteError::from(NetError::Setting(format!("{place} {why}"))).into())
}

#[cfg(test)]
mod tests;
