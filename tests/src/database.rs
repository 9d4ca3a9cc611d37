//! A Postgres server of one test's own, which the test can kill and start again.
//!
//! The programs are those that `cargo xtask test` installs. What the server has said it has kept stays: it writes before
//! it answers, only not through to the disk, which outlives the server's death but not the machine's.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// How long a start may take: after a kill the rows are read back from the log.
const START: Duration = Duration::from_secs(60);
/// Debian keeps every version in a folder of its own, off PATH.
const DEBIAN: &str = "/usr/lib/postgresql";
/// It refuses to run as root; Debian's package makes this user.
const USER: &str = "postgres";
const PASSWORD: &str = "of-a-test";

/// One that runs. Killed when dropped, and gone with this process.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Cluster {
    /// Makes a cluster and starts its server.
    ///
    /// # Errors
    /// Postgres is not installed, or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let bin = bin().with_context(|| {
            format!("no PostgreSQL, neither in {DEBIAN} nor on PATH: run `cargo xtask test`, which installs it")
        })?;
        let folder = tempfile::Builder::new().prefix("scale-cluster-").tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD)?;
        if as_root() {
            run(Command::new("chown").args(["-R", &format!("{USER}:")]).arg(folder.path()))?;
        }
        let mut this = Self { bin, folder, port, child: None };
        let mut initdb = this.program("initdb")?;
        initdb.arg("--pgdata").arg(this.data()).arg("--pwfile").arg(password);
        run(initdb.args(["--username=postgres", "--auth=password", "--encoding=UTF8", "--locale=C", "--no-sync"]))?;
        this.restart().await?;
        Ok(this)
    }

    /// Address of the superuser's database.
    pub fn url(&self) -> String {
        format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/postgres", self.port)
    }

    /// Kills the server as the kernel would. Its connections' processes notice, and end by themselves.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the database does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Starts the server again on the same rows and the same port.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let mut server = self.program("postgres")?;
            server.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
            for setting in [
                "listen_addresses=127.0.0.1",
                "unix_socket_directories=",
                "max_connections=200",
                // The death of a server does not take what the system has in its cache.
                "fsync=off",
            ] {
                server.args(["-c", setting]);
            }
            let log = std::fs::File::options().create(true).append(true).open(self.log())?;
            let spawned = server.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
            let child = self.child.insert(spawned.context("cannot start postgres")?);
            loop {
                if child.try_wait()?.is_some() {
                    // Processes of the one before still hold its memory.
                    break;
                }
                let mut ready = Command::new(self.bin.join("pg_isready"));
                ready.args(["--quiet", "--host=127.0.0.1", "--port", &self.port.to_string()]);
                if ready.status().context("cannot start pg_isready")?.success() {
                    return Ok(());
                }
                ensure!(started.elapsed() < START, "the database does not answer: {}", self.said());
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            self.child = None;
            if started.elapsed() > START {
                bail!("the database does not start: {}", self.said());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn said(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// A program that is not run as root, and that ends with this one.
    fn program(&self, name: &str) -> anyhow::Result<Command> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "INT"]);
        if as_root() {
            command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]);
        }
        command.arg("--").arg(self.bin.join(name)).current_dir(self.folder.path());
        Ok(command)
    }
}

impl Drop for Cluster {
    /// In good order: a killed server leaves shared memory behind.
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT);
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(10) && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn as_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The folder of the oldest version that is installed: what works there works with newer ones.
fn bin() -> Option<PathBuf> {
    let has = |folder: &Path| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let numbers = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let debian = numbers.map(|version| (version, Path::new(DEBIAN).join(format!("{version}/bin"))));
    let debian = debian.filter(|(_, folder)| has(folder)).min_by_key(|(version, _)| *version);
    debian.map(|(_, folder)| folder).or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|folder| has(folder))
    })
}

/// A database of its own on the server that `cargo xtask test` has started, by the client programs beside the server's.
///
/// # Errors
/// The variable SCALE_TEST_POSTGRES is missing, or the server refuses.
pub fn on_shared_server(name: &str) -> anyhow::Result<String> {
    let server = std::env::var("SCALE_TEST_POSTGRES").context(
        "SCALE_TEST_POSTGRES must be the URL of a superuser on a throw-away Postgres server; run `cargo xtask test`, \
         which starts one",
    )?;
    let psql = bin().context("psql is not installed")?.join("psql");
    run(Command::new(psql).arg(&server).args(["--quiet", "--no-psqlrc", "-c", &format!("CREATE DATABASE {name}")]))?;
    let (address, _) = server.rsplit_once('/').context("SCALE_TEST_POSTGRES names no database")?;
    Ok(format!("{address}/{name}"))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{:?} ended with {}: {}", command.get_program(), output.status, said());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rows_outlive_the_servers_death() {
        let mut cluster = Cluster::start().await.unwrap();
        let ask = |cluster: &Cluster, sql: &str| {
            let psql = Command::new(cluster.bin.join("psql")).arg(cluster.url()).args(["-qAtc", sql]).output().unwrap();
            assert!(psql.status.success(), "{}", String::from_utf8_lossy(&psql.stderr));
            String::from_utf8(psql.stdout).unwrap().trim().to_owned()
        };
        ask(&cluster, "CREATE TABLE kept AS SELECT 7 AS number");
        for _ in 0..2 {
            cluster.kill().unwrap();
            cluster.restart().await.unwrap();
            assert_eq!(ask(&cluster, "SELECT number FROM kept"), "7");
        }
    }
}
