package event

import "time"

// Plan is what a run is going to do: its first event, and of no case.
type Plan struct {
	Subjects []string `json:"subjects"`
	Backend  string   `json:"backend"`
	// Kernel is the one that was asked for; "" if that was left to the lane.
	Kernel string `json:"kernel,omitempty"`
	// Shard is the part of the plan that is run, "2/4".
	Shard string `json:"shard"`
	// Cases are those of the whole plan, whichever part they are in, in its order.
	Cases []PlannedCase `json:"cases"`
}

// PlannedCase is a case before it runs.
type PlannedCase struct {
	ID       string `json:"id"`
	Scenario string `json:"scenario"`
	File     string `json:"file"`
	Family   string `json:"family"`
	Subject  string `json:"subject"`
	// Repeat is the command that runs just this case again.
	Repeat string `json:"repeat"`
	// Part is the index of the shard that it is in.
	Part int `json:"part"`
}

// End is the last event of a run, and of no case.
type End struct {
	Took time.Duration `json:"took"`
	// Speed is how many times slower than nominal the machine was.
	Speed    float64   `json:"speed"`
	Machines []Machine `json:"machines,omitempty"`
}

// Machine is what workers ran on, and what it cost.
type Machine struct {
	Lane string `json:"lane"`
	// Where is one line for people: on what the workers ran.
	Where string `json:"where"`
	// Kernel is its version.
	Kernel  string        `json:"kernel"`
	Boot    time.Duration `json:"boot"`
	Retries int           `json:"retries"`
	// PeakMemory is of the machine as the host sees it, in bytes; 0 if unknown.
	PeakMemory int64 `json:"peakMemory"`
}
