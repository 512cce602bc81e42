// Package plan decides which piece comes from where and when the origin may be used. Its functions are pure: what
// they need to know, the time included, is in their arguments, so that the agent, the tests and a simulator run the
// same code.
package plan
