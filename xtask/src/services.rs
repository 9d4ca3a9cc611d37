//! Throw-away Postgres, Redis and Azurite servers for the tests that need real ones.
//!
//! They listen on free ports of 127.0.0.1, behind a password or key that nobody is told, keep everything in one temporary
//! folder, write nothing to disk in earnest, and end with this program, however it ends.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::command;
use crate::node::NodePackages;
use crate::report::clock;
use crate::tools::{apt_install, is_root, on_path};

/// Where tests find them. Set by the person who runs the tests, nothing is started in their place.
const POSTGRES: &str = "SCALE_TEST_POSTGRES";
const REDIS: &str = "SCALE_TEST_REDIS";
const AZURITE: &str = "SCALE_TEST_AZURITE";

/// A server of Azure Blob Storage that checks signatures.
const AZURITE_PACKAGES: NodePackages<'_> =
    NodePackages { name: "azurite", folder: "tests/azurite", purpose: "a server of Azure Blob Storage for the tests" };

/// The oldest versions that are supported.
const POSTGRES_VERSION: u32 = 15;
const REDIS_VERSION: u32 = 7;

/// Postgres and Redis refuse or dislike to run as root; Debian's package makes this user.
const USER: &str = "postgres";
const START_LIMIT: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Options {
    /// The command, which finds the servers by SCALE_TEST_POSTGRES, SCALE_TEST_REDIS and SCALE_TEST_AZURITE
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs one command beside the servers.
///
/// # Errors
/// If a server or the command fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let services = Services::start()?;
    // Invariant: clap asks for at least one word.
    let mut wanted = command::command(&options.command[0]);
    services.tell(wanted.args(&options.command[1..]));
    command::run(&mut wanted)
}

/// Servers that run, and how they are reached. They stop when this is dropped.
pub(crate) struct Services {
    /// Dropped before their folder.
    servers: Vec<Server>,
    folder: Option<Folder>,
    addresses: Vec<(&'static str, String)>,
}

impl Services {
    /// Installs what is missing and starts all of them, but not one whose address is in the environment.
    ///
    /// # Errors
    /// If one is missing and cannot be installed, or does not start.
    pub(crate) fn start() -> Result<Self> {
        let mut services = Self { servers: Vec::new(), folder: None, addresses: Vec::new() };
        let wanted: Vec<_> = [POSTGRES, REDIS, AZURITE].into_iter().filter(|name| !is_set(name)).collect();
        if wanted.is_empty() {
            println!("  using {POSTGRES}, {REDIS} and {AZURITE} from the environment");
            return Ok(services);
        }
        let started = Instant::now();
        let programs = Programs::find(&wanted).with_context(|| {
            format!("{} name no servers for the tests, and none can be started here", wanted.join(" and "))
        })?;
        let folder = services.folder.insert(Folder::new(is_root().then_some(USER))?).path.clone();
        for name in wanted {
            let (server, address) = match name {
                POSTGRES => postgres(&programs.postgres, &folder)?,
                REDIS => redis(&programs.redis, &folder)?,
                _ => azurite(&programs.azurite, &folder)?,
            };
            println!("  {} on port {}", server.version, server.port);
            services.servers.push(server);
            services.addresses.push((name, address));
        }
        println!("  started in {}", clock(started.elapsed()));
        Ok(services)
    }

    /// Puts the addresses into a command's environment.
    pub(crate) fn tell(&self, command: &mut Command) {
        command.envs(self.addresses.iter().map(|(name, address)| (name, address)));
    }
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Where the programs are.
struct Programs {
    /// The folder of `initdb`, `postgres` and `pg_isready`.
    postgres: PathBuf,
    redis: PathBuf,
    /// The folder of its packages.
    azurite: PathBuf,
}

impl Programs {
    fn find(wanted: &[&str]) -> Result<Self> {
        let [needs_postgres, needs_redis] = [POSTGRES, REDIS].map(|name| wanted.contains(&name));
        let mut packages = Vec::new();
        if needs_postgres && postgres_folder().is_none() {
            packages.push("postgresql");
        }
        if needs_redis && !on_path("redis-server") {
            packages.push("redis-server");
        }
        if !packages.is_empty() {
            apt_install(&packages, &format!("{} is not installed", packages.join(" and ")))?;
        }
        let postgres = match postgres_folder() {
            Some(folder) => folder,
            None if needs_postgres => {
                bail!("no PostgreSQL {POSTGRES_VERSION} or newer, neither on PATH nor in {DEBIAN}")
            }
            None => PathBuf::new(),
        };
        let azurite = if wanted.contains(&AZURITE) { AZURITE_PACKAGES.ensure()? } else { PathBuf::new() };
        Ok(Self { postgres, redis: "redis-server".into(), azurite })
    }
}

/// Debian keeps every version in a folder of its own, off PATH.
const DEBIAN: &str = "/usr/lib/postgresql";

fn postgres_folder() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let versions = versions.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let installed = versions.map(|version| (version, Path::new(DEBIAN).join(format!("{version}/bin"))));
    let installed: Vec<(u32, PathBuf)> = installed.filter(|(_, bin)| bin.join("initdb").is_file()).collect();
    let best = best_version(installed.iter().map(|(version, _)| *version));
    let debian = installed.into_iter().find(|(version, _)| Some(*version) == best).map(|(_, bin)| bin);
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
    };
    debian.or_else(on_path)
}

/// The oldest one that is supported: what works there works with newer ones, and not the other way round.
fn best_version(versions: impl Iterator<Item = u32>) -> Option<u32> {
    versions.filter(|version| *version >= POSTGRES_VERSION).min()
}

fn postgres(bin: &Path, folder: &Path) -> Result<(Server, String)> {
    let version = checked_version(&bin.join("postgres"), POSTGRES_VERSION)?;
    let (port, password) = (free_port()?, password());
    let data = folder.join("postgres");
    let mut initdb = as_user(&bin.join("initdb"), folder)?;
    let password_file = folder.join("password");
    fs::write(&password_file, &password).context("cannot write the password")?;
    initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(&password_file);
    initdb.args(["--username=postgres", "--auth=password", "--encoding=UTF8", "--locale=C", "--no-sync"]);
    let log = folder.join("initdb.log");
    let status = spawn(&mut initdb, &log, "")?.wait()?;
    ensure!(status.success(), "initdb failed ({status}):\n{}", tail(&log));

    let mut postgres = as_user(&bin.join("postgres"), folder)?;
    postgres.arg("-D").arg(&data).args(["-p", &port.to_string()]);
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=200",
        // Nothing here outlives the tests, so that nothing needs to reach the disk.
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
    ] {
        postgres.args(["-c", setting]);
    }
    let mut server = Server::spawn(version, port, &mut postgres, folder.join("postgres.log"), "")?;
    let is_ready = || {
        let mut ready = command::command(bin.join("pg_isready"));
        command::succeeds(ready.args(["--quiet", "--host=127.0.0.1", "--port", &port.to_string()]))
    };
    server.wait_until(is_ready)?;
    Ok((server, format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres")))
}

fn redis(program: &Path, folder: &Path) -> Result<(Server, String)> {
    let version = checked_version(program, REDIS_VERSION)?;
    let (port, password) = (free_port()?, password());
    // From stdin: a password on the command line can be read by everybody on the machine.
    let config = format!(
        "bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {}\nsave \"\"\nappendonly no\n",
        folder.display()
    );
    let mut redis = as_user(program, folder)?;
    let mut server = Server::spawn(version, port, redis.arg("-"), folder.join("redis.log"), &config)?;
    server.wait_until(|| answers_ping(port, &password).unwrap_or(false))?;
    Ok((server, format!("redis://default:{password}@127.0.0.1:{port}/")))
}

/// Everything in memory. It runs as whoever runs this: another user may not be able to read its packages.
fn azurite(packages: &Path, folder: &Path) -> Result<(Server, String)> {
    let package = packages.join("node_modules/azurite");
    let about = fs::read_to_string(package.join("package.json")).context("npm has not installed azurite")?;
    let about: serde_json::Value = serde_json::from_str(&about).context("azurite's package.json")?;
    let version = about["version"].as_str().unwrap_or_default();
    let (port, account) = (free_port()?, "scaletests");
    let key = base64(&password().as_bytes()[..30]);
    let mut node = bound(Path::new("node"), None)?;
    node.current_dir(folder).arg(package.join("dist/src/blob/main.js"));
    node.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--inMemoryPersistence"]);
    node.args(["--silent", "--disableTelemetry"]);
    // From the environment, as it takes them nowhere else.
    node.env("AZURITE_ACCOUNTS", format!("{account}:{key}"));
    let mut server = Server::spawn(format!("azurite {version}"), port, &mut node, folder.join("azurite.log"), "")?;
    server.wait_until(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())?;
    let endpoint = format!("http://127.0.0.1:{port}/{account}");
    let scheme = "DefaultEndpointsProtocol=http";
    Ok((server, format!("{scheme};AccountName={account};AccountKey={key};BlobEndpoint={endpoint};")))
}

/// As keys of Azure are written. `bytes`: a multiple of three, so that nothing is filled up.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.as_chunks::<3>().0.iter().flat_map(|[a, b, c]| {
        let word = u32::from(*a) << 16 | u32::from(*b) << 8 | u32::from(*c);
        [18, 12, 6, 0].map(|shift| char::from(DIGITS[(word >> shift & 63) as usize]))
    });
    digits.collect()
}

fn answers_ping(port: u16, password: &str) -> Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(format!("AUTH {password}\r\nPING\r\n").as_bytes())?;
    let mut answer = [0; "+OK\r\n+PONG\r\n".len()];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+OK\r\n+PONG\r\n")
}

/// One that runs.
pub(crate) struct Server {
    version: String,
    port: u16,
    child: Child,
    log: PathBuf,
}

impl Server {
    pub(crate) fn spawn(version: String, port: u16, command: &mut Command, log: PathBuf, stdin: &str) -> Result<Self> {
        let child = spawn(command, &log, stdin)?;
        Ok(Self { version, port, child, log })
    }

    pub(crate) fn wait_until(&mut self, is_ready: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once ({status}):\n{}", self.version, tail(&self.log));
            }
            if is_ready() {
                return Ok(());
            }
            if started.elapsed() > START_LIMIT {
                bail!("{} did not answer within {} s:\n{}", self.version, START_LIMIT.as_secs(), tail(&self.log));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Server {
    /// # Errors
    /// If it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended ({status}):\n{}", self.version, tail(&self.log)),
            None => Ok(()),
        }
    }

    /// Stops it and says where its log is.
    pub(crate) fn stop(self) -> PathBuf {
        self.log.clone()
    }
}

impl Drop for Server {
    /// In good order: a killed Postgres leaves shared memory behind.
    fn drop(&mut self) {
        let asked = Instant::now();
        command::succeeds(command::command("sh").args(["-c", &format!("kill -INT {}", self.child.id())]));
        while asked.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a program whose output goes to `log`.
fn spawn(command: &mut Command, log: &Path, stdin: &str) -> Result<Child> {
    let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", command::shown(command)))?;
    // Dropped at the end of the line, which is the end of the program's input. It may have ended without reading it.
    let _ = child.stdin.take().map(|mut pipe| pipe.write_all(stdin.as_bytes()));
    Ok(child)
}

/// A program that ends with this one, and that is not run as root.
fn as_user(program: &Path, folder: &Path) -> Result<Command> {
    let mut command = bound(program, is_root().then_some(USER))?;
    command.current_dir(folder);
    Ok(command)
}

/// A program that ends with this one, where the system can see to that. `user`: who it runs as, else whoever runs this.
pub(crate) fn bound(program: &Path, user: Option<&str>) -> Result<Command> {
    if !on_path("setpriv") {
        ensure!(
            user.is_none(),
            "setpriv is missing, and servers do not run as root; please install util-linux, or run this as a user"
        );
        return Ok(command::command(program));
    }
    let mut setpriv = command::command("setpriv");
    setpriv.args(["--pdeathsig", "TERM"]);
    if let Some(user) = user {
        setpriv.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]);
    }
    setpriv.arg("--").arg(program);
    Ok(setpriv)
}

/// The program's own line about its version.
fn checked_version(program: &Path, oldest: u32) -> Result<String> {
    let line = command::output(command::command(program).arg("--version"))?;
    let line = line.trim();
    let major = major_version(line).with_context(|| format!("{} says of its version: {line}", program.display()))?;
    ensure!(major >= oldest, "version {oldest} or newer is needed; this is {line}");
    Ok(line.split(['(', ' ']).next().unwrap_or_default().to_owned() + &format!(" {major}"))
}

/// Reads `postgres (PostgreSQL) 15.20 (Debian …)` and `Redis server v=7.0.15 sha=…`.
fn major_version(line: &str) -> Option<u32> {
    line.split([' ', '=']).find_map(|word| {
        let digits = word.split(|letter: char| !letter.is_ascii_digit()).next()?;
        digits.parse().ok()
    })
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?.local_addr()?.port())
}

/// 128 random bits, from what the standard library seeds its tables with.
fn password() -> String {
    use std::hash::{BuildHasher, RandomState};
    [(); 2].map(|()| format!("{:016x}", RandomState::new().hash_one(()))).concat()
}

pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// A temporary folder that the servers' user owns and nobody else can look into. A shell removes it when this program
/// has ended, however it has ended: its input ends then.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    remover: Child,
}

const REMOVER: &str = "trap '' INT TERM HUP; read -r _
for again in 1 2 3 4 5 6 7 8 9 10; do rm -rf \"$1\" && exit; sleep 0.3; done";

impl Folder {
    /// `owner`: whom it is given to, by root.
    pub(crate) fn new(owner: Option<&str>) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("scale-services-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let mut remover = command::command("sh");
        remover.args(["-c", REMOVER, "sh"]).arg(&path).stdin(Stdio::piped()).stderr(Stdio::null());
        let folder = Self { remover: remover.spawn().context("cannot start `sh`")?, path };
        command::output(command::command("chmod").arg("700").arg(&folder.path))?;
        if let Some(owner) = owner {
            command::output(command::command("chown").arg(format!("{owner}:")).arg(&folder.path))?;
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        let _ = self.remover.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_say() {
        for (line, major) in [
            ("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)", Some(15)),
            ("postgres (PostgreSQL) 18beta1", Some(18)),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ce52", Some(7)),
            ("no number here", None),
        ] {
            assert_eq!(major_version(line), major, "{line}");
        }
    }

    #[test]
    fn the_oldest_supported_postgres_is_taken() {
        assert_eq!(best_version([17, 13, 15, 16].into_iter()), Some(15));
        assert_eq!(best_version([16, 17].into_iter()), Some(16));
        assert_eq!(best_version([13, 14].into_iter()), None);
    }

    #[test]
    fn keys_are_written_as_azure_reads_them() {
        for (bytes, text) in [("foobar", "Zm9vYmFy"), ("\u{3fb}~>?", "z7t+Pj8="), ("", "")] {
            let whole = &bytes.as_bytes()[..bytes.len() / 3 * 3];
            assert_eq!(base64(whole), text[..whole.len() / 3 * 4], "{bytes}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_goes_with_its_owner() {
        let folder = Folder::new(None).unwrap();
        let path = folder.path.clone();
        fs::write(path.join("file"), "content").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn passwords_differ_and_need_no_escapes() {
        let (one, two) = (password(), password());
        assert_ne!(one, two);
        assert!(one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
