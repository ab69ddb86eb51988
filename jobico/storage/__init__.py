"""State on disk, in LMDB; the only code that imports lmdb.

    environment   one LMDB environment a process: kind, schema version, transactions
    writer        the one thread that writes: group commit, failures that stay with their op, recovery
    reserve       room that only settling work may use
    values        checksums, and values that are longer than a page

    queue         the listener's events, leases, dead letters, outbox and idempotency keys
    catalog       control's tenants, keys, jobs, nodes, secrets, peers and audit log
    artifacts     the repository's modules and schemas
    executions    the recorder's records

Every answer that says "stored" is given after the transaction is synced. Each module draws its keys.
"""
