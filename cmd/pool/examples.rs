//! What each command looks like in use, below its help. A test gives every line to a shell and to the parser.

/// For `pool` itself.
pub const POOL: &str = "\
Examples:
  pool init --lock env-1              # once: a lock to begin with
  pool run env-1 -- ./deploy.sh       # hold it while a script runs
  pool status                         # who holds what, and who waits
Where nothing is configured, the locks are those of your own on this machine.";

/// For `pool run`.
pub const RUN: &str = "\
Examples:
  pool run env-1 -- ./deploy.sh
  pool run env-1 db-1 -- make e2e              # both, or neither
  pool run aws/env-1 db/blue -- make e2e       # the same, of two pools
  pool run --match region=eu -- ./test.sh      # any that will do
  pool run --count 2 --timeout 30m -- ./load.sh
  pool run --try -E 75 env-1 -- ./nightly.sh   # 75: it was held
  pool run env-1 -- sh -c 'echo \"$POOL_LOCK_NAME\"'";

/// For `pool acquire`.
pub const ACQUIRE: &str = "\
Examples:
  pool acquire                              # any free lock; prints its name
  pool acquire --match region=eu --count 2  # two that will do, or none
  pool acquire --count all                  # every lock of the pool
  pool acquire --lease 2h --timeout 30m
  pool acquire --json                       # with the id of the claim";

/// For `pool claim`.
pub const CLAIM: &str = "\
Examples:
  pool claim env-1
  pool claim env-1 --try                    # exit code 1 if it is held
  pool claim aws/env-1 db/blue              # both, or neither, of two pools
  pool claim env-1 --lease 2h --priority 10
  pool claim env-1 --reason 'new disks until Friday'";

/// For `pool status`.
pub const STATUS: &str = "\
Examples:
  pool status
  pool status env-1 env-2
  pool status --all          # every pool on the branch
  pool status --mine         # what you hold, and where you wait
  pool status --watch
  pool status --at 2h        # as it was two hours ago
  pool status --json";

/// For `pool show`.
pub const SHOW: &str = "\
Examples:
  pool show env-1
  pool show env-1 > env-1.json
  pool show env-1 --json     # its holder and its claim as well";

/// For `pool log`.
pub const LOG: &str = "\
Examples:
  pool log
  pool log env-1 -n 5        # its last five claims
  pool log --since 7d --by deploy
  pool log --all --json";

/// For `pool doctor`.
pub const DOCTOR: &str = "\
Examples:
  pool doctor
  pool doctor --push         # may this account push?
  pool doctor --uri git@git.example.com:ops/locks.git --pool aws";

/// For `pool release`.
pub const RELEASE: &str = "\
Examples:
  pool release env-1
  pool release --claim \"$POOL_CLAIM\"
  pool release --all         # all that you hold; nothing is fine";

/// For `pool renew`.
pub const RENEW: &str = "\
Examples:
  pool renew env-1           # for another hour
  pool renew env-1 --lease 4h
  pool renew --claim \"$POOL_CLAIM\"";

/// For `pool init`.
pub const INIT: &str = "\
Examples:
  pool init --lock env-1 --lock env-2
  pool init --pool aws --lock env-1
  pool init --file pools.yml";

/// For `pool add`.
pub const ADD: &str = "\
Examples:
  pool add env-3
  pool add env-3 --metadata env-3.json
  echo 'region: eu' | pool add env-3 --metadata -
  pool add env-3 --claimed --lease 2h  # yours until it is set up";

/// For `pool remove`.
pub const REMOVE: &str = "\
Examples:
  pool claim env-3 && pool remove env-3
  pool remove env-3 --claim \"$POOL_CLAIM\"";

/// For `pool update`.
pub const UPDATE: &str = "\
Examples:
  pool update env-3 --metadata env-3.json
  echo 'region: eu' | pool update env-3 --metadata -
  pool update env-3 --metadata env-3.json --timeout 10m
  pool update env-3 --claim \"$POOL_CLAIM\" --metadata new.json";

/// For `pool move`.
pub const MOVE: &str = "\
Examples:
  pool move env-3 --to broken
  pool move env-3 --pool broken --to aws";

/// For `pool unlock`.
pub const UNLOCK: &str = "\
Examples:
  pool unlock env-1 --reason 'the build was deleted'";

/// For `pool reap`.
pub const REAP: &str = "\
Examples:
  pool reap --dry-run        # what would be freed, and why
  pool reap                  # leases that have ended
  pool reap --stale-after 12h
  pool reap --concourse-url https://ci.example.com
  pool reap --gitlab-url https://gitlab.example.com";

/// For `pool completions`.
pub const COMPLETIONS: &str = "\
Examples:
  pool completions bash > ~/.local/share/bash-completion/completions/pool
  pool completions zsh > ~/.zfunc/_pool
  pool completions fish > ~/.config/fish/completions/pool.fish";

/// For `pool verify`.
pub const VERIFY: &str = "\
Examples:
  pool verify --claim \"$POOL_CLAIM\"
  pool verify --claim \"$POOL_CLAIM\" -- ./deploy.sh  # only while it stands
  pool verify env-1 --claim \"$POOL_CLAIM\"";

/// For `pool stats`.
pub const STATS: &str = "\
Examples:
  pool stats                 # the pool, the last 30 days
  pool stats --by lock --since 7d
  pool stats --by pipeline --format csv > waits.csv";

/// For `pool simulate`.
pub const SIMULATE: &str = "\
Examples:
  pool simulate              # with one lock fewer, and up to three more
  pool simulate --locks +1 --locks +5 --since 90d
  pool simulate --locks +0 --order newest
  pool simulate --locks +0 --priority hotfix=10";

/// For `pool serve`.
pub const SERVE: &str = "\
Examples:
  pool serve                 # all pools of the branch, on this machine
  pool serve --listen 0.0.0.0:9010 --show-metadata
  POOL_SERVE_TOKEN_FILE=token pool serve --allow unlock,release";
