"""The RPCs that are not served, and why: what a client reads beside UNIMPLEMENTED."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_WHY: Mapping[str, str] = {
    "users, roles and privileges are PostgreSQL's: CREATE ROLE makes one, store.grant() lets it use a collection, "
    "and a gateway connects as the role in its target": """
        CreateCredential UpdateCredential DeleteCredential CreateRole AlterRole DropRole OperateUserRole
        OperatePrivilege OperatePrivilegeV2 BackupRBAC RestoreRBAC CreatePrivilegeGroup DropPrivilegeGroup
        OperatePrivilegeGroup AddUserTags DeleteUserTags GetUserTags ListUsersWithTag
    """,
    "row policies are PostgreSQL's: CREATE POLICY on the table of the collection": """
        CreateRowPolicy DropRowPolicy ListRowPolicies
    """,
    "there is one server, PostgreSQL: no nodes, no replicas and no segments to move": """
        CreateResourceGroup DropResourceGroup UpdateResourceGroups TransferNode TransferReplica LoadBalance RegisterLink
    """,
    "data are not loaded into memory by hand: PostgreSQL's cache does it": "Prewarm DescribePrewarmTask",
    "files are loaded by COPY, or by insert() of vecstore": "Import GetImportState ListImportTasks",
    "PostgreSQL has no segments": "ListIndexedSegment DescribeSegmentIndexData",
    "replication is PostgreSQL's: streaming or logical replication": """
        ReplicateMessage UpdateReplicateConfiguration GetReplicateConfiguration GetReplicateInfo CreateReplicateStream
        DumpMessages
    """,
    "a function comes with the field that it makes: add_function_field() and drop_function_field()": """
        AddCollectionFunction AlterCollectionFunction
    """,
    "texts are read by PostgreSQL's text search, whose dictionaries are its own": """
        AddFileResource RemoveFileResource ListFileResources
    """,
    "phrase_match() compares phrases; the smallest slop of one is not computed": "ComputePhraseMatchSlop",
    "DropCollectionFunction RPC is no longer supported; drop a function via drop_function_field": """
        DropCollectionFunction
    """,
    "arrays of structs are not supported: use a JSON field": "AddCollectionStructField",
    "namespaces are not supported: use databases, which are PostgreSQL's, or partitions": """
        CreateNamespace DescribeNamespace ListNamespaces DropNamespace HasNamespace GetNamespaceStats
    """,
    "snapshots are not supported: pg_dump, or a backup of the server, keeps a state": """
        CreateSnapshot DropSnapshot ListSnapshots DescribeSnapshot RestoreSnapshot RestoreExternalSnapshot
        ExportSnapshot GetExportSnapshotState GetRestoreSnapshotState ListRestoreSnapshotJobs PinSnapshotData
        UnpinSnapshotData
    """,
    "external collections are not supported: a foreign table of PostgreSQL reads what is elsewhere": """
        BatchUpdateManifest RefreshExternalCollection GetRefreshExternalCollectionProgress
        ListRefreshExternalCollectionJobs
    """,
    "Milvus itself has taken it away": "CalcDistance Dummy",
}


def _by_name() -> Iterator[tuple[str, str]]:
    for why, names in _WHY.items():
        for name in names.split():
            yield name, f"{name}: {why}"


REFUSED: Mapping[str, str] = dict(_by_name())
