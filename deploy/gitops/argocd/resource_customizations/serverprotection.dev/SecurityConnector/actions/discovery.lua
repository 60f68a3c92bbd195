local suspended = obj.spec.suspend == true
local deleting = obj.metadata.deletionTimestamp ~= nil

-- Only what Ready shows for this spec can be approved.
local needsApproval = false
if obj.status ~= nil and obj.status.observedGeneration == obj.metadata.generation then
  for _, condition in ipairs(obj.status.conditions or {}) do
    if condition.type == "Stalled" and condition.reason == "ReductionNeedsApproval" then
      needsApproval = true
    end
  end
end

local actions = {}
actions["reconcile"] = {
  ["iconClass"] = "fa fa-fw fa-rotate-right",
  ["disabled"] = suspended or deleting
}
actions["suspend"] = {
  ["iconClass"] = "fa fa-fw fa-pause",
  ["disabled"] = suspended or deleting
}
actions["resume"] = {
  ["iconClass"] = "fa fa-fw fa-play",
  ["disabled"] = deleting or not suspended
}
actions["approve-reduction"] = {
  ["displayName"] = "Approve reduction",
  ["iconClass"] = "fa fa-fw fa-arrow-down",
  ["disabled"] = deleting or not needsApproval
}
return actions
