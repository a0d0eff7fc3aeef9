"""What a cluster would tell, said of one server: one node, one replica, one resource group. And who is known to it."""

from __future__ import annotations

import json
from typing import Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2, rg_pb2

from . import state
from .call import Call, number_of
from .connecting import MILVUS_VERSION
from .errors import invalid

_GROUP = "__default_resource_group"
_NODE = 1
_ADDRESS = "vecstore"
_ROLES = ("admin", "public")
_HEALTHY = common_pb2.StateCode.Healthy


def list_resource_groups(call: Call, request: Any) -> Any:
    return milvus_pb2.ListResourceGroupsResponse(resource_groups=[_GROUP])


def describe_resource_group(call: Call, request: Any) -> Any:
    if request.resource_group != _GROUP:
        raise invalid(f"resource group not found[rg={request.resource_group}]")
    one = rg_pb2.ResourceGroupLimit(node_num=1)
    return milvus_pb2.DescribeResourceGroupResponse(
        resource_group=milvus_pb2.ResourceGroup(
            name=_GROUP,
            capacity=1,
            num_available_node=1,
            config=rg_pb2.ResourceGroupConfig(requests=one, limits=one),
            nodes=[common_pb2.NodeInfo(node_id=_NODE, address=_ADDRESS, hostname=_ADDRESS)],
        )
    )


def get_replicas(call: Call, request: Any) -> Any:
    names = {it.oid: it.name for it in call.store.summaries()}
    found = call.described(request.collection_name or names.get(request.collectionID, str(request.collectionID)))
    if not state.is_loaded(found):
        return milvus_pb2.GetReplicasResponse()
    shard = milvus_pb2.ShardReplica(leaderID=_NODE, leader_addr=_ADDRESS, dm_channel_name=found.name, node_ids=[_NODE])
    replica = milvus_pb2.ReplicaInfo(
        replicaID=number_of(str(found.oid), "replica"),
        collectionID=found.oid,
        partition_ids=[number_of(found.name, it.name) for it in found.partitions if state.is_loaded(found, it.name)],
        shard_replicas=[shard],
        node_ids=[_NODE],
        resource_group_name=_GROUP,
    )
    return milvus_pb2.GetReplicasResponse(replicas=[replica])


def get_component_states(call: Call, request: Any) -> Any:
    component = milvus_pb2.ComponentInfo(nodeID=_NODE, role="proxy", state_code=_HEALTHY)
    return milvus_pb2.ComponentStates(state=component, subcomponent_states=[component])


def get_metrics(call: Call, request: Any) -> Any:
    """Old clients read the version from what Milvus says of its nodes."""
    about = {
        "identifier": _NODE,
        "connected": None,
        "infos": {
            "name": "vecstore",
            "type": "proxy",
            "has_error": False,
            "system_info": {
                "system_version": MILVUS_VERSION,
                "deploy_mode": "STANDALONE",
                "build_version": MILVUS_VERSION,
            },
        },
    }
    response = json.dumps({"nodes_info": [about]})
    return milvus_pb2.GetMetricsResponse(response=response, component_name="vecstore")


def _user(name: str) -> Any:
    roles = [milvus_pb2.RoleEntity(name=role) for role in _ROLES]
    return milvus_pb2.UserResult(user=milvus_pb2.UserEntity(name=name), roles=roles)


def list_cred_users(call: Call, request: Any) -> Any:
    """The gateway knows one user: the one who has its token."""
    return milvus_pb2.ListCredUsersResponse(usernames=[call.user])


def select_user(call: Call, request: Any) -> Any:
    is_known = request.user.name in {"", call.user}
    return milvus_pb2.SelectUserResponse(results=[_user(call.user)] if is_known else [])


def select_role(call: Call, request: Any) -> Any:
    users = [milvus_pb2.UserEntity(name=call.user)] if request.include_user_info else []
    chosen = [role for role in _ROLES if request.role.name in {"", role}]
    return milvus_pb2.SelectRoleResponse(
        results=[milvus_pb2.RoleResult(role=milvus_pb2.RoleEntity(name=role), users=users) for role in chosen]
    )


def select_grant(call: Call, request: Any) -> Any:
    """The rights of the one user are those of the role that the gateway connects as: PostgreSQL tells them."""
    return milvus_pb2.SelectGrantResponse()


def list_privilege_groups(call: Call, request: Any) -> Any:
    return milvus_pb2.ListPrivilegeGroupsResponse()


CALLS = {
    "DescribeResourceGroup": describe_resource_group,
    "GetComponentStates": get_component_states,
    "GetMetrics": get_metrics,
    "GetReplicas": get_replicas,
    "ListCredUsers": list_cred_users,
    "ListPrivilegeGroups": list_privilege_groups,
    "ListResourceGroups": list_resource_groups,
    "SelectGrant": select_grant,
    "SelectRole": select_role,
    "SelectUser": select_user,
}
