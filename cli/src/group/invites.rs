//! `eddy group invite`, `invites`, and `join` with a code.

use super::{Overwrite, ms, refused, the_group, unusable};
use crate::failure::Failure;
use crate::link::Link;
use crate::setting::Setting;
use crate::text::table::{Column, table};
use crate::text::units;
use clap::{Args, Subcommand};
use eddy_node::config;
use eddy_node::group::{Group, JoinCode};
use eddy_node::identity::Identity;
use eddy_node::peer::{EnrolError, Where, enrol};
use eddy_wire::catalogue::ErrorCode;
use eddy_wire::membership::{MembershipRefusal, Role};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// `eddy group invite`.
#[derive(Debug, Args)]
pub struct InviteArgs {
    /// How many machines it lets in
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    uses: u32,
    /// How long it lasts: 15min, 1h, 2days
    #[arg(long = "for", default_value = "1h", value_name = "TIME", value_parser = humantime::parse_duration)]
    life: Duration,
    /// What it makes of them: member, issuer (certifies members, too) or anchor
    #[arg(long, default_value = "member", value_parser = parse_role)]
    role: Role,
    /// Where this node is reached, as ip:port, if it does not find that out by itself; again for more
    #[arg(long, value_name = "IP:PORT")]
    address: Vec<SocketAddr>,
}

/// `eddy group invites ...`.
#[derive(Debug, Subcommand)]
pub enum InvitesCommand {
    /// List the invitations of this node
    Ls,
    /// Take invitations back
    Rm {
        /// Their names, as `ls` shows them
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// An invitation as programs see it.
#[derive(Debug, Serialize)]
struct InviteView {
    /// Its name.
    invite: String,
    /// The code, once, when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// What it makes of them.
    role: String,
    /// How many machines it lets in.
    uses: u32,
    /// Who came by it.
    admitted: Vec<String>,
    /// When it ends, in milliseconds since the Unix epoch.
    until_unix_ms: u64,
    /// Whether it still lets somebody in.
    open: bool,
}

fn parse_role(word: &str) -> Result<Role, String> {
    Role::parse(word).ok_or_else(|| "a role is member, issuer or anchor".to_owned())
}

/// Whether a text is meant to be a join code.
pub(super) fn is_code(text: &str) -> bool {
    let beginning: String = text.trim_start().chars().take(9).collect();
    beginning.eq_ignore_ascii_case("eddy-join")
}

pub(super) async fn invite(args: InviteArgs, setting: &Setting) -> Result<(), Failure> {
    let (group, _) = the_group(setting)?;
    let running = Link::to_running(setting)?.status().await.ok();
    let port =
        running.as_ref().and_then(|status| status.listen.iter().find_map(|at| at.rsplit(' ').next()?.parse().ok()));
    let hints = match (args.address.is_empty(), port) {
        (true, Some(port)) => own_addresses().into_iter().map(|ip| SocketAddr::new(ip, port)).collect(),
        (true, None) => Vec::new(),
        (false, _) => args.address,
    };
    let (code, invite) = group.invite(args.role, args.uses, args.life, &hints).map_err(refused)?;
    if running.is_none() {
        setting.note("no daemon runs here: start one, nobody is let in before");
    }
    let machines = if args.uses == 1 { "one machine".to_owned() } else { format!("{} machines", args.uses) };
    let until = units::time(ms(invite.until));
    setting.note(&format!("lets in {machines} as {} until {until}; there: eddy group join CODE", args.role));
    let now = group.now();
    let view = InviteView { code: Some(code.text().to_string()), ..view(&invite, now) };
    setting.answer(&view, || code.text().to_string() + "\n")
}

pub(super) fn run(command: InvitesCommand, setting: &Setting) -> Result<(), Failure> {
    let (group, _) = the_group(setting)?;
    let register = group.register().map_err(refused)?;
    if let InvitesCommand::Rm { names } = &command {
        for name in names {
            let found =
                if name.len() < 4 { 0 } else { register.withdraw(name).map_err(|error| refused(error.into()))? };
            if found == 0 {
                return Err(Failure::new(ErrorCode::InviteNotFound, name.clone()));
            }
        }
    }
    let invites = register.invites().map_err(|error| refused(error.into()))?;
    let now = group.now();
    let views: Vec<_> = invites.iter().map(|invite| view(invite, now)).collect();
    setting.answer(&views, || {
        let columns = [
            Column::Text("INVITE"),
            Column::Text("ROLE"),
            Column::Number("USED"),
            Column::Number("USES"),
            Column::Text("UNTIL"),
            Column::Text("STATE"),
        ];
        let row = |view: &InviteView| {
            vec![
                view.invite.clone(),
                view.role.clone(),
                view.admitted.len().to_string(),
                view.uses.to_string(),
                units::time(view.until_unix_ms),
                if view.open { "open" } else { "closed" }.to_owned(),
            ]
        };
        table(&columns, views.iter().map(row))
    })
}

fn view(invite: &eddy_node::group::Invite, now: i64) -> InviteView {
    InviteView {
        invite: invite.name(),
        code: None,
        role: invite.role().to_string(),
        uses: invite.uses,
        admitted: invite.admitted.iter().map(|node| eddy_wire::NodeId(*node).to_string()).collect(),
        until_unix_ms: ms(invite.until),
        open: invite.is_open(now),
    }
}

/// Joins by a code. Until an issuer has let this machine in, nothing is kept here.
pub(super) async fn join(
    text: &str,
    address: Option<&str>,
    overwrite: Overwrite,
    setting: &Setting,
) -> Result<Group, Failure> {
    let code = JoinCode::parse(text).map_err(|error| Failure::new(ErrorCode::JoinCodeInvalid, error.to_string()))?;
    if overwrite == Overwrite::Refuse
        && let Some(there) = Group::load(&setting.home).map_err(refused)?.filter(|group| !code.is_of(group.id()))
    {
        return Err(Failure::new(ErrorCode::GroupExists, format!("this node is in group {} already", there.name())));
    }
    let node = Identity::load_or_draft(&setting.home).map_err(unusable)?;
    let place = place(&code, address, setting).await?;
    let admission = enrol(&node, &code, &place).await.map_err(not_let_in)?;
    if !node.keep(&setting.home).map_err(unusable)? {
        return Err(Failure::new(ErrorCode::GroupUnusable, "another process made a key for this node meanwhile"));
    }
    Group::join_enrolled(&setting.home, &node, &code, admission, overwrite).map_err(refused)
}

async fn place(code: &JoinCode, address: Option<&str>, setting: &Setting) -> Result<Where, Failure> {
    if let Some(address) = address {
        let found = tokio::net::lookup_host(address).await;
        let unknown = |why: String| Failure::new(ErrorCode::IssuerUnreachable, format!("{address}: {why}"));
        let found: Vec<_> = found.map_err(|error| unknown(error.to_string()))?.take(4).collect();
        return if found.is_empty() { Err(unknown("no address".to_owned())) } else { Ok(Where::At(found)) };
    }
    let settings = config::load(&setting.home, setting.config.as_deref());
    let settings = settings.map_err(|error| Failure::new(ErrorCode::BadConfig, error.to_string()))?;
    let hints = code.hints().to_vec();
    Ok(if settings.peers.mdns.unwrap_or(true) { Where::Around(hints) } else { Where::At(hints) })
}

fn not_let_in(error: EnrolError) -> Failure {
    let code = match &error {
        EnrolError::Refused(MembershipRefusal::Fault) | EnrolError::NobodyThere { .. } | EnrolError::Broken(_) => {
            ErrorCode::IssuerUnreachable
        }
        EnrolError::Refused(_) => ErrorCode::JoinRefused,
        EnrolError::Socket(_) | EnrolError::Tls(_) | EnrolError::Discovery(_) => ErrorCode::Internal,
    };
    Failure::new(code, error.to_string())
}

/// The addresses by which this machine goes to others. Connecting a datagram socket sends nothing.
fn own_addresses() -> Vec<IpAddr> {
    // A documentation address by the default route (RFC 5737), and mDNS's group by the local one.
    let ways = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(224, 0, 0, 251)];
    let mut found: Vec<IpAddr> = Vec::new();
    for way in ways {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
        let local = socket.and_then(|socket| socket.connect((way, 9)).and_then(|()| socket.local_addr()));
        let usable = local.ok().map(|local| local.ip()).filter(|ip| !ip.is_unspecified());
        found.extend(usable.filter(|ip| !found.contains(ip)));
    }
    found
}
