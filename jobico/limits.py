"""Every bound of the platform: its name, its unit (last in the name) and its default.

A bound that a job definition or a setting may change is a default here, with the ceiling beside it.
Relations between bounds that other code relies on are asserted at the end.
"""

from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

# Intake over HTTP
BODY_BYTES_MAX: Final = 1 * MIB
BATCH_EVENTS_MAX: Final = 1_000
JSON_DEPTH_MAX: Final = 64
VIOLATIONS_REPORTED_MAX: Final = 20
WAIT_MS_MAX: Final = 30_000
HEADER_BYTES_MAX: Final = 8 * KIB
HEADERS_MAX: Final = 100
CONNECTIONS_MAX: Final = 1_000
REQUEST_LINE_BYTES_MAX: Final = 4 * KIB
HEAD_BYTES_MAX: Final = 32 * KIB  # all headers of one request
HEAD_MS_MAX: Final = 10_000  # from connecting to the end of the first request's headers
BODY_MS_MAX: Final = 30_000  # from the headers to the end of the body
BODIES_BYTES_MAX: Final = 64 * MIB  # unfinished bodies of all connections together
KEEPALIVE_MS: Final = 75_000
IDEMPOTENCY_KEY_CHARS_MAX: Final = 255
IDEMPOTENCY_WINDOW_MS: Final = 24 * 3_600_000
DELAY_MS_MAX: Final = 30 * 24 * 3_600_000

# Artifacts
MODULE_BYTES_MAX: Final = 16 * MIB
COMPONENT_BYTES_MAX: Final = 64 * MIB
SCHEMA_BYTES_MAX: Final = 1 * MIB
SCHEMA_DEPTH_MAX: Final = 64
COMPILE_CPU_MS_MAX: Final = 60_000
COMPILE_MEMORY_BYTES_MAX: Final = 4 * GIB

# Job definitions
DEFINITION_BYTES_MAX: Final = 256 * KIB
DEFINITION_NODES_MAX: Final = 10_000
DEFINITION_DEPTH_MAX: Final = 16
DEFINITION_PROBLEMS_MAX: Final = 20
QUEUES_MAX: Final = 100
RUNTIMES_MAX: Final = 100
EVENTS_MAX: Final = 500
ENV_ENTRIES_MAX: Final = 100
ENV_BYTES_MAX: Final = 32 * KIB
SECRETS_MAX: Final = 20

# Guests
GUEST_TIME_MS: Final = 5_000
GUEST_TIME_MS_MAX: Final = 120_000
GUEST_MEMORY_BYTES: Final = 64 * MIB
GUEST_MEMORY_BYTES_MAX: Final = 1 * GIB
GUEST_RESULT_BYTES: Final = 256 * KIB
GUEST_RESULT_BYTES_MAX: Final = 1 * MIB
GUEST_LOGS_BYTES: Final = 64 * KIB
GUEST_LOGS_BYTES_MAX: Final = 1 * MIB
GUEST_LOG_LINES_MAX: Final = 1_000
GUEST_TABLE_ELEMENTS_MAX: Final = 100_000
GUEST_STACK_BYTES: Final = 512 * KIB
GUEST_EMITS_MAX: Final = 100
GUEST_ERROR_CHARS_MAX: Final = 4_096
EPOCH_TICK_MS: Final = 10
WATCHDOG_GRACE_MS: Final = 1_000

# Delivery
ATTEMPTS_DEFAULT: Final = 3
ATTEMPTS_MAX: Final = 100
BACKOFF_INITIAL_MS: Final = 1_000
BACKOFF_MAX_MS: Final = 300_000
BACKOFF_MAX_MS_MAX: Final = 24 * 3_600_000
DEATHS_MAX: Final = 3
HOPS_MAX: Final = 16
LEASE_MS: Final = 10_000
LEASE_RENEW_MS: Final = 2_000
HELD_AHEAD_MS: Final = 20
HELD_DELIVERIES_MAX: Final = 256
RETURN_AFTER_MS: Final = 40
DELIVERIES_BATCH_MAX: Final = 128

# Records
RECORD_PAYLOAD_BYTES_MAX: Final = 16 * KIB
RECORDS_BATCH_MAX: Final = 256
RECORDS_BATCH_BYTES_MAX: Final = 4 * MIB
OUTBOX_UNACKNOWLEDGED_MAX: Final = 2_048
OUTBOX_RETRY_MS: Final = 5_000
RETENTION_MS: Final = 7 * 24 * 3_600_000
RETENTION_BYTES: Final = 4 * GIB
QUERY_ROWS_MAX: Final = 1_000

# Storage
QUEUE_MAP_BYTES: Final = 16 * GIB
CATALOG_MAP_BYTES: Final = 1 * GIB
ARTIFACTS_MAP_BYTES: Final = 16 * GIB
EXECUTIONS_MAP_BYTES: Final = 16 * GIB
COMMIT_OPS_MAX: Final = 1_000
COMMIT_BYTES_MAX: Final = 32 * MIB
STORE_RESERVE_BYTES: Final = 32 * MIB
STORE_PROBE_MS: Final = 250
STORE_READERS_MAX: Final = 64

# Protocol
MESSAGE_BYTES_MAX: Final = 8 * MIB
UPLOAD_MESSAGE_BYTES_MAX: Final = COMPONENT_BYTES_MAX + 1 * MIB
HEADER_FRAME_BYTES_MAX: Final = 512
MESSAGE_DEPTH_MAX: Final = 32
MESSAGE_ITEMS_MAX: Final = 65_536
SOCKET_HWM: Final = 1_000
REQUESTS_UNDER_WAY_MAX: Final = 1_024
RECONNECT_MS: Final = 20
RECONNECT_MS_MAX: Final = 1_000
HANDSHAKE_MS: Final = 5_000
SOCKET_HEARTBEAT_MS: Final = 1_000
SOCKET_HEARTBEAT_TIMEOUT_MS: Final = 5_000
CALL_TIMEOUT_MS: Final = 5_000
NODE_HEARTBEAT_MS: Final = 1_000
NODE_LOST_MS: Final = 5_000
REQUEST_IDS_REMEMBERED: Final = 10_000

# Tenancy
TENANTS_MAX: Final = 10_000
KEYS_PER_TENANT_MAX: Final = 100
TENANT_EVENTS_PER_S: Final = 50_000
TENANT_QUEUED_EVENTS: Final = 1_000_000
TENANT_QUEUED_BYTES: Final = 4 * GIB
TENANT_CONCURRENT_RUNS: Final = 1_000
TENANT_STORED_BYTES: Final = 1 * GIB
TENANT_WEIGHT: Final = 1
REVISIONS_KEPT_MAX: Final = 100

# Shutdown
DRAIN_MS: Final = 10_000

# An event with the longest result and logs, and a batch of the largest records, fit a message.
assert BODY_BYTES_MAX + GUEST_RESULT_BYTES_MAX + GUEST_LOGS_BYTES_MAX < MESSAGE_BYTES_MAX
assert RECORDS_BATCH_BYTES_MAX + GUEST_RESULT_BYTES_MAX + GUEST_LOGS_BYTES_MAX < MESSAGE_BYTES_MAX
# A lease outlives two lost renewals.
assert LEASE_MS > 3 * LEASE_RENEW_MS
# A quota leaves the map room for settlements.
assert TENANT_QUEUED_BYTES < QUEUE_MAP_BYTES
