package netns

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// task is what /proc/PID/stat and /proc/PID/task/TID/stat tell of a process or a thread.
type task struct {
	pid, parent, session int
	state                byte
	// cpu is the time that the process used, with its children that it has waited for; of a thread, its own.
	cpu time.Duration
	rss int64 // bytes
}

// busy is true for a thread that runs, could run, or waits in the kernel for something that is about to happen, such as a lock.
func (t task) busy() bool { return t.state == 'R' || t.state == 'D' }

// clockTick is the unit of times in /proc: USER_HZ, which is 100 on every architecture that Go knows.
const clockTick = time.Second / 100

// parseTask reads a stat file. The name in it is in parentheses and may contain anything.
func parseTask(stat []byte) (task, error) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return task{}, fmt.Errorf("not the state of a task: %.60q", stat)
	}
	fields := bytes.Fields(stat[end+1:]) // from the third on
	if len(fields) < 22 {
		return task{}, fmt.Errorf("state of a task with %d fields: %.60q", len(fields), stat)
	}
	var err error
	number := func(b []byte) int64 {
		n, e := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
		err = errors.Join(err, e)
		return n
	}
	t := task{pid: int(number(stat[:open])), state: fields[0][0], parent: int(number(fields[1])), session: int(number(fields[3]))}
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime
		t.cpu += time.Duration(number(f)) * clockTick
	}
	t.rss = number(fields[21]) * int64(os.Getpagesize())
	return t, err
}

// readProcess reads one process; an error that is ErrNotExist or ESRCH means that it is gone.
func readProcess(pid int) (task, error) {
	stat, err := readFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return task{}, err
	}
	return parseTask(stat)
}

// readThreads reads the threads of a process; none if it is gone.
func readThreads(pid int) ([]task, error) {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	tids, err := os.ReadDir(dir)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	tasks := make([]task, 0, len(tids))
	for _, tid := range tids {
		stat, err := readFile(dir + "/" + tid.Name() + "/stat")
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		t, err := parseTask(stat)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}

// family is the processes that belong to the session of pid, or descend from one that does. A process that left both, by
// becoming a daemon, is not found.
func family(pid int) ([]task, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all := map[int]task{}
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if t, err := readProcess(id); err == nil {
			all[id] = t
		}
	}
	var members []task
	for id, t := range all {
		if t.state != 'Z' && descends(all, id, pid) {
			members = append(members, t)
		}
	}
	return members, nil
}

// descends follows the parents of a process up to one of the session of pid.
func descends(all map[int]task, id, pid int) bool {
	for range all {
		t, known := all[id]
		if !known {
			return false
		}
		if t.session == pid {
			return true
		}
		id = t.parent
	}
	return false
}

func gone(err error) bool { return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// readFile reads a file of the kernel's, without the detour through the runtime's poller.
func readFile(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	content := make([]byte, 0, 1024)
	for {
		n, err := unix.Read(fd, content[len(content):cap(content)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return content, nil
		default:
			content = content[:len(content)+n]
			if len(content) == cap(content) {
				content = append(content, 0)[:len(content)]
			}
		}
	}
}
