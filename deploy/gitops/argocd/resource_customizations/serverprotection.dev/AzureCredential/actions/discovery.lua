local actions = {}
actions["reconcile"] = {
  ["iconClass"] = "fa fa-fw fa-rotate-right",
  ["disabled"] = obj.metadata.deletionTimestamp ~= nil
}
return actions
