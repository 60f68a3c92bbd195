-- The conditions follow kstatus: Ready is always present, Reconciling and Stalled only while they are True, and
-- status.observedGeneration says which spec they are about.
local health = {status = "Progressing", message = "Waiting for the controller"}
local deleting = obj.metadata.deletionTimestamp ~= nil
local suspended = obj.spec.suspend == true
if suspended then
  health.status = "Suspended"
  health.message = "Waiting for the controller: spec.suspend is true"
end
-- A deletion raises the generation: until the controller has seen it, Argo CD shows the finalizers.
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end
for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.type == "Ready" then
    health.message = condition.message
    if deleting and condition.reason == "Deleting" then
      -- What the deletion waits for (deletionPolicy: Delete). It always ends, so it is not Degraded.
      health.status = "Progressing"
      health.deletionMessage = condition.message
    elseif not suspended then
      health.message = condition.reason .. ": " .. condition.message
      if condition.status == "True" then
        health.status = "Healthy"
      end
    end
  elseif condition.type == "Stalled" and condition.status == "True" then
    health.status = "Degraded"
  end
end
return health
