package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File string
	// Line and Column count from 1, columns in characters; both are 0 if the problem is with the file as a whole.
	Line, Column int
	Message      string
	// Excerpt is the line of the file and below it a caret under what is meant.
	Excerpt string
	// Suggestion says what to do about it.
	Suggestion string
}

// Error is "file:line:col: message", the excerpt, and what to do.
func (p Problem) Error() string {
	lines := []string{p.File + ": " + p.Message}
	if p.Line > 0 {
		lines[0] = fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	}
	if p.Excerpt != "" {
		lines = append(lines, p.Excerpt)
	}
	if p.Suggestion != "" {
		lines = append(lines, "  "+p.Suggestion)
	}
	return strings.Join(lines, "\n")
}

// ProblemAt is a problem with what begins on a line of the scenario's file.
func (s *Scenario) ProblemAt(line int, message, suggestion string) Problem {
	text := newSource(s.File, s.Source)
	column := 1 + blanks(text.line(line))
	return text.problem(spot{line, column, 1}, message, suggestion)
}

// Problems is everything that is wrong, ordered by file and position.
type Problems []Problem

// Error is all of them, and their number if there are several.
func (p Problems) Error() string {
	texts := make([]string, len(p))
	for i, problem := range p {
		texts[i] = problem.Error()
	}
	if len(p) > 1 {
		texts = append(texts, fmt.Sprintf("%d problems", len(p)))
	}
	return strings.Join(texts, "\n\n")
}

// orNil is the list as an error.
func (p Problems) orNil() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p
}

// spot is a place in a file: a line and a column from 1, and how many characters are meant.
type spot struct{ line, column, width int }

// source is the text of a file, for excerpts.
type source struct {
	file  string
	lines []string
}

func newSource(file string, text []byte) *source {
	return &source{file, strings.Split(string(text), "\n")}
}

// line is a line of the text by its number, "" if there is none.
func (s *source) line(number int) string {
	if number < 1 || number > len(s.lines) {
		return ""
	}
	return s.lines[number-1]
}

// problem is one at a spot.
func (s *source) problem(at spot, message, suggestion string) Problem {
	return Problem{
		File: s.file, Line: at.line, Column: at.column, Message: message, Suggestion: suggestion, Excerpt: s.excerpt(at),
	}
}

// excerpt shows the line and marks what is meant.
func (s *source) excerpt(at spot) string {
	text := s.line(at.line)
	if at.line < 1 || at.line > len(s.lines) {
		return ""
	}
	number := fmt.Sprintf("%5d", at.line)
	before, rest := cut(text, at.column-1)
	width := max(1, min(at.width, utf8.RuneCountInString(rest)))
	blank := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, before)
	return fmt.Sprintf("%s | %s\n%s | %s%s", number, text, strings.Repeat(" ", len(number)), blank, strings.Repeat("^", width))
}

// within narrows a spot to the first occurrence of a part of what stands there.
func (s *source) within(at spot, part string) spot {
	_, rest := cut(s.line(at.line), at.column-1)
	before, _, found := strings.Cut(rest, part)
	if !found || part == "" {
		return at
	}
	return spot{at.line, at.column + utf8.RuneCountInString(before), utf8.RuneCountInString(part)}
}

// cut splits a line after n characters.
func cut(line string, n int) (before, after string) {
	runes := []rune(line)
	n = max(0, min(n, len(runes)))
	return string(runes[:n]), string(runes[n:])
}
